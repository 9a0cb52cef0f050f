"""The detectors that `--by` names."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from fcoslite.detections.detections import Detections
from fcoslite.errors import ConfigError
from fcoslite.inference.about import about
from fcoslite.inference.described.description import Description, find_described
from fcoslite.inference.runtimes.exported import is_our_onnx
from fcoslite.runs.find_weights import find_weights
from fcoslite.storage.files import file_digest

_LOWEST_SCORE = 0.05  # that a view gives to the fusion
# NMS within a view, below the IoU of the fusion: else it averages a box with its own view's doubles, which score less
_VIEW_IOU = 0.5

Detect = Callable[[np.ndarray], Detections]  # an image [h, w, 3] uint8 RGB to what is in it, in its pixels


@dataclass(frozen=True)
class Chosen:
    """A detector that is found, and not loaded.

    Attributes:
        name: What the user calls it.
        path: A weights file of ours, or an ONNX file.
        description: Of an ONNX file; None for ours.
        sizes: Of the squares, pixels; None is what the file fixes.
        class_names: Of what it detects.
    """

    name: str
    path: Path
    description: Description | None
    sizes: tuple[int | None, ...]
    class_names: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """All that decides what it detects."""
        description = None if self.description is None else self.description.model_dump()
        return {"sha256": file_digest(self.path), "description": description, "sizes": self.sizes}


@dataclass(frozen=True)
class Loaded:
    """Detectors at work.

    Attributes:
        views: Each detects on an image.
        at_once: Images that they are best given at the same time, from threads.
    """

    views: tuple[Detect, ...]
    at_once: int


def choose_detectors(by: Sequence[str], sizes: Sequence[int], runs: Path) -> tuple[Chosen, ...]:
    """Find detectors.

    Args:
        by: Packaged weights, .npz files, runs, ONNX files made of them; or another project's FILE.onnx with its
            description beside it, or named after a colon.
        sizes: Sides of the squares for the ONNX files, pixels; none: what each fixes.
        runs: Where runs are.

    Raises:
        WeightsError: One is not there.
        ConfigError: A description is missing or wrong, they know different classes, or `sizes` is for none of them.
    """
    chosen = []
    for text in by:
        if is_our_onnx(Path(text)):
            chosen.append(Chosen(text, Path(text), None, (None,), about(Path(text)).class_names))
        elif found := find_described(text):
            path, description, _ = found
            chosen.append(Chosen(text, path, description, tuple(sizes) or (None,), tuple(description.classes)))
        else:
            path = find_weights(text, runs)
            chosen.append(Chosen(text, path, None, (None,), about(path).class_names))
    if not chosen:
        raise ConfigError("no detector is named", "name one with --by")
    if sizes and all(one.description is None for one in chosen):
        raise ConfigError("--size is for ONNX files", f"{chosen[0].name} has a size of its own")
    for other in chosen[1:]:
        if set(other.class_names) != set(chosen[0].class_names):
            known = [f"{one.name}: {', '.join(one.class_names)[:200]}" for one in (chosen[0], other)]
            raise ConfigError("the detectors know different classes", "; ".join(known))
    return tuple(chosen)


def _one_at_a_time(detect: Detect) -> Detect:
    lock = Lock()

    def locked(image_rgb: np.ndarray) -> Detections:
        with lock:
            return detect(image_rgb)

    return locked


def load_detectors(chosen: Sequence[Chosen], score: float) -> Loaded:
    """Load detectors, and have each detect once, so that what does not fit is told before the work begins.

    Args:
        chosen: Which.
        score: From which on boxes are wanted in the end.

    Raises:
        WeightsError: One cannot be used.
        ConfigError: A description does not fit its file, or a size is not possible.
    """
    views: list[Detect] = []
    at_once = 1
    least = min(_LOWEST_SCORE, score)
    for one in chosen:
        if one.description is None:
            from fcoslite.inference.predictor import Predictor

            settings = about(one.path).settings.evaluate.model_copy(update={"score": least, "iou": _VIEW_IOU})
            predictor = Predictor.load(one.path, settings, many=True)
            predictor.warm_up()
            views.append(predictor.predict if predictor.at_once > 1 else _one_at_a_time(predictor.predict))
            at_once = max(at_once, predictor.at_once)
        else:
            from fcoslite.inference.described.detector import DescribedDetector

            # an image per core is faster than all cores at one
            at_once = max(at_once, os.cpu_count() or 1)
            description = one.description.model_copy(update={"nms_iou": _VIEW_IOU})
            for size in one.sizes:
                detector = DescribedDetector(one.path, description, size, least, threads=1)
                detector.predict(np.zeros((detector.image_size, detector.image_size, 3), np.uint8))
                views.append(detector.predict)
    return Loaded(tuple(views), at_once)
