"""The agent side of taskgen-metarl: one algorithm a file, what they share, how they are judged and trained in rooms."""
