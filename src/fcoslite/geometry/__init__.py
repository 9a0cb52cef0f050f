"""Boxes, letterboxing, and cutting and resizing of batches of images."""
