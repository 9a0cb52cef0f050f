"""Backbone, neck, head, and the detectors made of them."""
