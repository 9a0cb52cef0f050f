"""A COCO data set cut down to chosen classes."""
