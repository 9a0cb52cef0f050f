"""Reports on runs: one HTML file with settings, data, curves, an evaluation and its worst errors."""
