"""Runtimes, which run a network: one file for each engine."""
