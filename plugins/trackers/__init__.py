"""Where the metrics of a run go, one file each."""
