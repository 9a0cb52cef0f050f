"""What an evaluation says, whatever ran the detector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fcoslite.data.dataset import LabelledImage
from fcoslite.data.sources.source import Change, Source
from fcoslite.detections.detections import Detections
from fcoslite.detections.formats import to_results
from fcoslite.errors import DataError
from fcoslite.evaluation.coco_metrics import ap75_per_image, coco_metrics
from fcoslite.progress import Progress, no_progress


@dataclass(frozen=True)
class Evaluation:
    """What a detector does on a source.

    Attributes:
        metrics: Losses (`loss`, `class_loss`, `box_loss`, `quality_loss`) where they are known, COCO's figures (`ap`,
            `ap50`, ...) and `ap75_per_image`.
        precision: [10, 101], precision by IoU threshold and recall.
        images: Ground truth, in original pixels.
        detections: One per image.
    """

    metrics: dict[str, float]
    precision: np.ndarray
    images: list[LabelledImage]
    detections: list[Detections]


class Evaluates(Protocol):
    """A detector that can be evaluated, again and again."""

    def run(
        self, source: Source, batch_size: int, progress: Progress = no_progress, change: Change | None = None
    ) -> Evaluation:
        """Evaluate on all images of a source, as they are or as `change` leaves them."""


def summarise(
    images: Sequence[LabelledImage],
    detections: Sequence[Detections],
    class_names: tuple[str, ...],
    losses: Mapping[str, float],
) -> Evaluation:
    """Score detections, one per image, by COCO's rules."""
    results = to_results(images, detections, range(1, len(class_names) + 1))
    figures, precision = coco_metrics(images, results, class_names)
    metrics = {**losses, **figures, "ap75_per_image": ap75_per_image(images, detections)}
    return Evaluation(metrics, precision, list(images), list(detections))


def check_source(class_names: tuple[str, ...], image_size: int, source: Source) -> None:
    """Refuse a source on which a detector of such classes and size cannot be evaluated.

    Raises:
        DataError: It is empty, or its classes or image size are others.
    """
    if source.class_names != class_names:
        known, given = ", ".join(class_names), ", ".join(source.class_names)
        raise DataError(f"the data holds {given}; the model knows {known}", "extract the classes of the model")
    if source.image_size < image_size:
        raise DataError(
            f"the records are letterboxed to {source.image_size} pixels, the model takes {image_size}",
            f"make records of that size: build-records --size {image_size} --out OTHER",
        )
    if not len(source):
        raise DataError("there is no image to evaluate on", "name other data, or records with a validation part")


def evaluation_document(evaluation: Evaluation, facts: Mapping[str, Any]) -> dict[str, Any]:
    """metrics.json: what was evaluated, on how many images and boxes, and the metrics."""
    boxes = sum(int((~image.iscrowd).sum()) for image in evaluation.images)
    return {**facts, "images": len(evaluation.images), "boxes": boxes, "metrics": evaluation.metrics}
