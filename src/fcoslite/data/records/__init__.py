"""TFRecords: what is in them, how they are built and verified."""
