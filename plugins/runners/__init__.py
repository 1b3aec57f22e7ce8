"""Outer loops of another shape: one file each, registered in `plugins.plugin`."""
