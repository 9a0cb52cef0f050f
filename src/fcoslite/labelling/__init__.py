"""`fcoslite label`: pictures without boxes become a data set, by detectors."""
