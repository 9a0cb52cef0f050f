"""fcoslite: train and run a lightweight anchor-free person detector on a small machine."""

from importlib.metadata import version

__version__ = version("fcoslite")
