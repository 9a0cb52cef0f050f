"""Sources of batches: records, or a COCO folder."""
