"""Weights files: one `.npz` of plain arrays by variable path, and the settings needed to rebuild the detector.

A zip of plain arrays: every member has a checksum, nothing in it can execute, and any Numpy opens it.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.config import ModelSettings, make_settings
from fcoslite.errors import ConfigError, WeightsError
from fcoslite.files import replace_file
from fcoslite.models.detector import Detector, build_detector

_HEADER = "fcoslite"
_FORMAT = 1


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write arrays and a header so that `path` is at all times either the old file or the whole new one."""
    text = json.dumps({"format": _FORMAT, **header})
    buffer = io.BytesIO()
    # the stub of np.savez takes a mapping of arrays for a mapping of flags
    np.savez(buffer, **{_HEADER: np.array(text)}, **arrays)  # type: ignore[arg-type]
    replace_file(path, buffer.getvalue())


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_arrays` wrote.

    Returns:
        The arrays by name, and the header.

    Raises:
        WeightsError: The file is missing, damaged or not ours.
    """
    if not path.is_file():
        raise WeightsError(f"no weights at {path}", "give a .npz file or a run directory")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(str(arrays.pop(_HEADER)))
    except KeyError:
        raise WeightsError(f"{path} is not a weights file of fcoslite", _import_hint()) from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise WeightsError(f"{path} cannot be read: {error}", "the file is damaged or of another format") from None
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise WeightsError(f"{path} is of another version of fcoslite", "retrain, or use the version that wrote it")
    return arrays, header


def save_weights(detector: Detector, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write a detector's weights with its settings; `facts` (run, epoch, metrics) ride along in the header."""
    arrays = {weight.path: np.asarray(weight) for weight in detector.network.weights}
    # the file stands alone: it must not look for the backbone's file when it is loaded
    model = detector.settings.model_copy(update={"backbone_weights": None}).model_dump(mode="json")
    write_arrays(path, arrays, {"kind": "weights", "model": model, **(facts or {})})


def load_detector(path: Path, precision: str = "float32") -> tuple[Detector, dict[str, Any]]:
    """Rebuild the detector that a weights file holds.

    Returns:
        The detector and the file's header.

    Raises:
        WeightsError: The file cannot be used.
    """
    arrays, header = read_arrays(path)
    try:
        settings = make_settings({"model": header.get("model", {})}, origin=str(path)).model
        detector = build_detector(settings, precision)
    except ConfigError as error:
        raise WeightsError(f"{path} names a model we cannot build: {error.message}", error.hint) from None
    assign_weights(detector, arrays, origin=str(path))
    return detector, header


def load_weights(detector: Detector, path: Path) -> None:
    """Load a weights file into a detector of the same architecture and classes.

    Raises:
        WeightsError: The file is of another model or other classes.
    """
    arrays, header = read_arrays(path)
    stored = tuple(header.get("model", {}).get("classes") or ())
    if stored != detector.class_names:
        raise WeightsError(
            f"{path} knows the classes {', '.join(stored) or 'of nobody'}, "
            f"this model {', '.join(detector.class_names)}",
            "extract the same classes, or start from other weights",
        )
    assign_weights(detector, arrays, origin=str(path))


def assign_weights(detector: Detector, arrays: Mapping[str, np.ndarray], origin: str) -> None:
    """Assign arrays by variable path; nothing is assigned unless everything fits.

    Raises:
        WeightsError: A variable is missing, left over, or of another shape.
    """
    weights = {weight.path: weight for weight in detector.network.weights}
    _assign(weights, arrays, f"{origin} does not fit the {detector.settings.preset} model")


def _of_backbone(name: str) -> bool:
    return not name.startswith(("neck_", "head_"))


def _assign(weights: Mapping[str, Any], arrays: Mapping[str, np.ndarray], complaint: str) -> None:
    wrong = sorted(weights.keys() ^ arrays.keys())
    if not wrong:
        wrong = [name for name, weight in weights.items() if tuple(weight.shape) != arrays[name].shape]
    if wrong:
        raise WeightsError(
            f"{complaint}: {wrong[0]} and {len(wrong) - 1} more differ",
            "use the preset, classes and widths that it was trained with",
        )
    for name, weight in weights.items():
        weight.assign(arrays[name].astype("float32"))


def load_backbone(detector: Detector, path: Path) -> None:
    """Load the backbone of a weights file, of a backbone alone or of a whole detector, into a detector.

    Raises:
        WeightsError: The file holds another backbone.
    """
    arrays, _ = read_arrays(path)
    weights = {weight.path: weight for weight in detector.network.weights if _of_backbone(weight.path)}
    arrays = {name: array for name, array in arrays.items() if _of_backbone(name)}
    _assign(weights, arrays, f"{path} does not fit the {detector.architecture.backbone} backbone")


def model_settings(path: Path) -> ModelSettings:
    """The model settings that a weights file was saved with.

    Raises:
        WeightsError: The file cannot be used.
    """
    _, header = read_arrays(path)
    return make_settings({"model": header.get("model", {})}, origin=str(path)).model


def _import_hint() -> str:
    return "a TensorFlow checkpoint of old is brought in by fcoslite.models.import_checkpoint"
