"""The packaged detectors at any image size."""

from pathlib import Path

from fcoslite.evaluation.export_detector import SUFFIXES, ExportPlan, Format, Precision, export_detector
from fcoslite.models.detector import Detector, build_detector
from fcoslite.models.header import model_settings
from fcoslite.models.weights import load_weights
from fcoslite.runs.find_weights import packaged_weights


def packaged_detector(name: str, image_size: int) -> Detector:
    """`lite0` or `lite` for images of that size, of any shape."""
    path = packaged_weights()[name]
    settings = model_settings(path).model_copy(update={"image_size": image_size})
    detector = build_detector(settings, free_sides=True)
    load_weights(detector, path)
    return detector


def packaged_export(
    name: str, image_size: int, folder: Path, precision: Precision = "float32", format: Format = "onnx"
) -> Path:
    """The same as an exported file in a folder; a file of a format that takes images of any shape is for any size."""
    size = image_size if format in ("litert", "saved-model") else None
    out = folder / f"{name}-{size}-{precision}{SUFFIXES[format]}"
    if not out.exists():
        export_detector(ExportPlan(packaged_weights()[name], out, format, precision, image_size=size))
    return out
