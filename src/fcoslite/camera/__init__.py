"""Cameras over time: the frames that are kept of them, when these were taken, who comes by, and who is told."""
