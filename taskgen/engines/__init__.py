"""Engines: what steps many tasks at once, in pure torch or in MuJoCo, and their conformance kit."""
