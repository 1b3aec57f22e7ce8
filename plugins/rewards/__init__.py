"""Rewards over controlled Markov processes, one file each."""
