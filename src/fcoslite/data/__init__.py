"""From COCO files to batches."""
