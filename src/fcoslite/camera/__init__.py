"""Cameras over time: when their frames were taken, and who comes by."""
