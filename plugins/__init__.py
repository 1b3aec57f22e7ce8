"""The built-in task side: families, rewards, generators, curricula, runners, trackers, as anybody could write them."""
