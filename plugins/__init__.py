"""The task side of taskgen-metarl: families, rewards, generators, curricula, runners, trackers, as plugins."""
