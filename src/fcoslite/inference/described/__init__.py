"""Detectors of other projects, in ONNX files that a small YAML file describes."""
