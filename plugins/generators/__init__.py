"""Generators: sources that make tasks, one file each."""
