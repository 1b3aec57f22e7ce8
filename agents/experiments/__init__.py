"""Shipped experiments, one TOML file each: copy one to begin your own. Settings were measured, see `benchmarks/`."""
