"""Evaluation of a detector on a source: losses, detections and COCO's figures, from one forward pass per image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fcoslite.config.settings import DetectSettings, LossSettings, ModelSettings
from fcoslite.data.dataset import LabelledImage
from fcoslite.data.sources.source import Batch, Change, Source
from fcoslite.detections.detections import Detections, to_detections
from fcoslite.detections.formats import to_results
from fcoslite.errors import DataError
from fcoslite.evaluation.coco_metrics import ap75_per_image, coco_metrics
from fcoslite.fcos.decode import detect
from fcoslite.fcos.ground_truth import unpack
from fcoslite.fcos.locations import locations_of
from fcoslite.fcos.losses import detection_losses
from fcoslite.geometry.batch_images import resize
from fcoslite.geometry.boxes import Tensor
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.models.detector import Detector
from fcoslite.progress import Progress, no_progress


@dataclass(frozen=True)
class Evaluation:
    """What a detector does on a source.

    Attributes:
        metrics: Losses (`loss`, `class_loss`, `box_loss`, `quality_loss`), COCO's figures (`ap`, `ap50`, ...)
            and `ap75_per_image`.
        precision: [10, 101], precision by IoU threshold and recall.
        images: Ground truth, in original pixels.
        detections: One per image.
    """

    metrics: dict[str, float]
    precision: np.ndarray
    images: list[LabelledImage]
    detections: list[Detections]


class _LossesAndDetections(keras.Model):
    """A batch -> its losses and detections, in one graph."""

    def __init__(self, detector: Detector, loss: LossSettings, detect_settings: DetectSettings) -> None:
        super().__init__(name="losses_and_detections", dtype="float32")
        self.network = detector.network
        self.detector = detector
        self.loss_settings = loss
        self.detect_settings = detect_settings

    def call(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        detector = self.detector
        images, boxes = resize(*unpack(batch, self.loss_settings), detector.image_size)
        outputs = self.network(images, training=False)
        losses = detection_losses(outputs, boxes, detector, self.loss_settings)
        locations = locations_of(detector.image_size, detector.architecture.strides)
        found = detect(outputs, locations, self.detect_settings)
        return {
            "loss": losses.total,
            "class_loss": losses.classes,
            "box_loss": losses.boxes,
            "quality_loss": losses.quality,
            **found,
        }


class Evaluator:
    """Evaluates one detector, again and again: the graph is compiled once.

    Args:
        detector: Its weights are read anew at every run.
        loss: For the validation losses.
        detect_settings: From outputs to boxes.
        jit_compile: Compile with XLA.
    """

    def __init__(
        self,
        detector: Detector,
        loss: LossSettings,
        detect_settings: DetectSettings,
        jit_compile: bool = False,
    ) -> None:
        self.detector = detector
        self._model = _LossesAndDetections(detector, loss, detect_settings)
        self._model.compile(jit_compile=jit_compile)

    def run(
        self, source: Source, batch_size: int, progress: Progress = no_progress, change: Change | None = None
    ) -> Evaluation:
        """Evaluate on all images of a source, as they are or as `change` leaves them.

        Raises:
            DataError: The source is empty, or of other classes or another size than the detector.
        """
        check_source(self.detector.settings, source)
        if not len(source):
            raise DataError("there is no image to evaluate on", "name other data, or records with a validation part")
        names, size = self.detector.class_names, self.detector.image_size
        sums: dict[str, float] = {}
        images: list[LabelledImage] = []
        detections: list[Detections] = []
        with progress("evaluating", len(source), "images") as advance:
            for batch, labels in source.evaluation_batches(batch_size, change):
                if images:  # a first batch is compiled anyway, whatever its size
                    batch = fill(batch, batch_size)
                result = self._model.predict_on_batch(batch)
                rows, counts = (result.pop(key)[: len(labels)] for key in ("detections", "count"))
                for key, value in result.items():
                    # a batch's loss is a mean over its boxes: weigh it by its images
                    sums[key] = sums.get(key, 0.0) + float(value) * len(labels)
                # records larger than the model have been resized with their padding: map back by their letterbox
                rows[..., :4] *= source.image_size / size
                for label, row, count in zip(labels, rows, counts, strict=True):
                    letterbox = Letterbox(label.height, label.width, source.image_size)
                    detections.append(to_detections(row, count, letterbox, names))
                images += labels
                advance(len(labels))
        metrics = {key: value / len(images) for key, value in sums.items()}
        results = to_results(images, detections, range(1, len(names) + 1))
        figures, precision = coco_metrics(images, results, names)
        metrics |= figures | {"ap75_per_image": ap75_per_image(images, detections)}
        return Evaluation(metrics, precision, images, detections)


def fill(batch: Batch, batch_size: int) -> Batch:
    """A batch of that many images: those of a short one, then images that add nothing to any loss.

    So the last batch has the shape of those before it, and need not be compiled for itself. All of an added image
    is to be ignored, as if one crowd filled it.
    """
    missing = batch_size - len(batch["images"])
    if missing <= 0:
        return batch
    size = batch["images"].shape[1]
    added = {key: np.zeros((missing, *values.shape[1:]), values.dtype) for key, values in batch.items()}
    added["boxes"][:, 0] = [1, 0, 0, size, size]
    added["crowd"][:, 0] = True
    added["scores"][:, 0] = 1
    return {key: np.concatenate([values, added[key]]) for key, values in batch.items()}


def check_source(model: ModelSettings, source: Source) -> None:
    """Refuse a source whose classes or image size are not the model's.

    Raises:
        DataError: They differ.
    """
    if source.class_names != model.classes:
        known, given = ", ".join(model.classes or ()), ", ".join(source.class_names)
        raise DataError(f"the data holds {given}; the model knows {known}", "extract the classes of the model")
    if source.image_size < model.image_size:
        raise DataError(
            f"the records are letterboxed to {source.image_size} pixels, the model takes {model.image_size}",
            f"make records of that size: build-records --size {model.image_size} --out OTHER",
        )


def evaluation_document(evaluation: Evaluation, facts: Mapping[str, Any]) -> dict[str, Any]:
    """metrics.json: what was evaluated, on how many images and boxes, and the metrics."""
    boxes = sum(int((~image.iscrowd).sum()) for image in evaluation.images)
    return {**facts, "images": len(evaluation.images), "boxes": boxes, "metrics": evaluation.metrics}
