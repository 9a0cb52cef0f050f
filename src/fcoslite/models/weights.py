"""Weights files: the arrays of a detector by variable path, and the settings needed to rebuild it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.errors import ConfigError, WeightsError
from fcoslite.models.detector import Detector, build_detector
from fcoslite.models.header import model_of
from fcoslite.storage.arrays import read_arrays, write_arrays


def save_weights(detector: Detector, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write a detector's weights with its settings; `facts` (run, epoch, metrics) ride along in the header."""
    arrays = {weight.path: np.asarray(weight) for weight in detector.network.weights}
    # the file stands alone: it must not look for the backbone's file when it is loaded
    model = detector.settings.model_copy(update={"backbone_weights": None}).model_dump(mode="json")
    write_arrays(path, arrays, {"kind": "weights", "model": model, **(facts or {})})


def load_detector(
    path: Path, precision: str = "float32", image_size: int | None = None, free_sides: bool = False
) -> tuple[Detector, dict[str, Any]]:
    """Rebuild the detector that a weights file holds.

    Args:
        path: The file.
        precision: To compute in.
        image_size: Side of the letterboxed image, pixels, a multiple of the largest stride; None: what it was saved
            with.
        free_sides: See `build_detector`.

    Returns:
        The detector and the file's header.

    Raises:
        WeightsError: The file cannot be used.
    """
    arrays, header = read_arrays(path)
    settings = model_of(header, path)
    if image_size is not None:
        settings = settings.model_copy(update={"image_size": image_size})
    try:
        detector = build_detector(settings, precision, free_sides=free_sides)
    except ConfigError as error:
        raise WeightsError(f"{path} names a model we cannot build: {error.message}", error.hint) from None
    assign_weights(detector, arrays, origin=str(path))
    return detector, header


def load_weights(detector: Detector, path: Path, anew: tuple[str, ...] = ()) -> None:
    """Load a weights file into a detector of the same architecture and classes.

    Args:
        detector: To load into.
        path: The file.
        anew: Variables whose paths begin with one of these stay as they are, and may differ.

    Raises:
        WeightsError: The file is of another model or other classes.
    """
    arrays, header = read_arrays(path)
    stored = model_of(header, path).classes or ()
    if stored != detector.class_names:
        raise WeightsError(
            f"{path} knows the classes {', '.join(stored) or '(none)'}, this model {', '.join(detector.class_names)}",
            "extract the same classes, or start from other weights",
        )
    own = {weight.path: np.asarray(weight) for weight in detector.network.weights if weight.path.startswith(anew)}
    arrays = {name: array for name, array in arrays.items() if not name.startswith(anew)}
    assign_weights(detector, arrays | own, origin=str(path))


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
    differences = [f"it lacks {name}" for name in weights if name not in arrays]
    differences += [f"it has {name}, which the model has not" for name in arrays if name not in weights]
    differences += [
        f"{name} is {array.dtype} {array.shape}, and should be float32 {tuple(weights[name].shape)}"
        for name, array in arrays.items()
        if name in weights and (array.dtype.kind != "f" or array.shape != tuple(weights[name].shape))
    ]
    if differences:
        more = f" (and {len(differences) - 1} more differences)" if len(differences) > 1 else ""
        raise WeightsError(
            f"{complaint}: {differences[0]}{more}", "use the preset, classes and widths that it was trained with"
        )
    with np.errstate(over="ignore"):
        values = {name: array.astype("float32") for name, array in arrays.items()}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise WeightsError(f"{complaint}: {name} holds NaN or infinity", "take weights from before they diverged")
    for name, weight in weights.items():
        weight.assign(values[name])


def load_backbone(detector: Detector, path: Path) -> None:
    """Load the backbone of a weights file, of a backbone alone or of a whole detector, into a detector.

    Raises:
        WeightsError: The file holds another backbone.
    """
    arrays, _ = read_arrays(path)
    weights = {weight.path: weight for weight in detector.network.weights if _of_backbone(weight.path)}
    arrays = {name: array for name, array in arrays.items() if _of_backbone(name)}
    _assign(weights, arrays, f"{path} does not fit the {detector.architecture.backbone} backbone")
