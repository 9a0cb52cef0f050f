"""What a network's outputs mean: locations, targets, losses, decoding (FCOS, arXiv 1904.01355)."""
