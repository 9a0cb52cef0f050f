"""COCO metrics and their plots."""
