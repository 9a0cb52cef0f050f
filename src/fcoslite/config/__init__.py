"""Settings: the tree, how it is read, and the configs installed with the package."""
