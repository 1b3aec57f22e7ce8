"""The built-in agent side: one algorithm a file here, what they share and how they are judged and trained in rooms."""
