"""`fcoslite review`: somebody looks at the boxes that detectors have drawn, the most doubtful first."""
