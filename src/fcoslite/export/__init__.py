"""Detectors in the formats of other engines and the layouts of other projects: one writer a file."""
