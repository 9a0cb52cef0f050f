"""Detectors in the formats of other engines: one writer a file."""
