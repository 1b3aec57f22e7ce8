"""Curricula and filters: sources that wrap sources."""
