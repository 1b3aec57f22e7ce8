"""Before and beyond one run: what it will take, and many of them by one command."""
