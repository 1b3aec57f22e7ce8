"""The training loop, what it writes down, and how a run is opened again."""
