"""Evaluation of a detector that Keras has built: losses and detections, from one forward pass per image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from fcoslite.config.settings import DetectSettings, LossSettings
from fcoslite.data.dataset import LabelledImage
from fcoslite.data.sources.source import Batch, Change, Source
from fcoslite.detections.detections import Detections, to_detections
from fcoslite.evaluation.evaluation import Evaluation, check_source, summarise
from fcoslite.fcos.decode import decode
from fcoslite.fcos.ground_truth import unpack
from fcoslite.fcos.locations import locations_of
from fcoslite.fcos.losses import detection_losses
from fcoslite.fcos.postprocess import postprocess
from fcoslite.geometry.batch_images import resize
from fcoslite.geometry.boxes import Tensor
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.models.detector import Detector, loss_network
from fcoslite.progress import Progress, no_progress


class _LossesAndBoxes(keras.Model):
    """A batch -> its losses, and the boxes and scores of all locations, in one graph."""

    def __init__(self, detector: Detector, loss: LossSettings) -> None:
        super().__init__(name="losses_and_boxes", dtype="float32")
        self.network = loss_network(detector)
        self.detector = detector
        self.loss_settings = loss

    def call(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        detector = self.detector
        images, boxes = resize(*unpack(batch, self.loss_settings), detector.image_size)
        outputs = self.network(images, training=False)
        losses = detection_losses(outputs, boxes, detector, self.loss_settings)
        locations = locations_of(detector.image_size, detector.architecture.strides)
        return {
            "loss": losses.total,
            "class_loss": losses.classes,
            "box_loss": losses.boxes,
            "quality_loss": losses.quality,
            **decode(outputs, locations.points, locations.strides[:, None]),
        }


@dataclass(frozen=True)
class Observed:
    """What a detector does on some images, before it is scored.

    Attributes:
        images: Ground truth, in original pixels.
        detections: One per image.
        losses: Sums over the images.
    """

    images: list[LabelledImage]
    detections: list[Detections]
    losses: dict[str, float]


def summarise_observed(parts: Sequence[Observed], class_names: tuple[str, ...]) -> Evaluation:
    """Score the parts of a source as one."""
    images = [image for part in parts for image in part.images]
    detections = [found for part in parts for found in part.detections]
    names = dict.fromkeys(name for part in parts for name in part.losses)
    losses = {name: sum(part.losses.get(name, 0.0) for part in parts) / len(images) for name in names}
    return summarise(images, detections, class_names, losses)


class Evaluator:
    """Evaluates one detector, again and again: the graph is compiled once for a source.

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
        self._detect_settings = detect_settings
        self._loss = loss
        self._jit_compile = jit_compile
        self._models: dict[tuple[int, ...], _LossesAndBoxes] = {}

    def run(
        self, source: Source, batch_size: int, progress: Progress = no_progress, change: Change | None = None
    ) -> Evaluation:
        """Evaluate on all images of a source, as they are or as `change` leaves them.

        Raises:
            DataError: The source is empty, or of other classes or another size than the detector.
        """
        return summarise_observed([self.observe(source, batch_size, progress, change)], self.detector.class_names)

    def observe(
        self, source: Source, batch_size: int, progress: Progress = no_progress, change: Change | None = None
    ) -> Observed:
        """What `run` scores.

        Raises:
            DataError: As of `run`.
        """
        names, size = self.detector.class_names, self.detector.image_size
        check_source(names, size, source)
        sums: dict[str, float] = {}
        images: list[LabelledImage] = []
        detections: list[Detections] = []
        with progress("evaluating", len(source), "images") as advance:
            for batch, labels in source.evaluation_batches(batch_size, change):
                if images:  # a first batch is compiled anyway, whatever its size
                    batch = fill(batch, batch_size)
                result = self._model(batch["boxes"].shape).predict_on_batch(batch)
                all_boxes, all_scores = result.pop("boxes"), result.pop("scores")
                for key, value in result.items():
                    # a batch's loss is a mean over its boxes: weigh it by its images
                    sums[key] = sums.get(key, 0.0) + float(value) * len(labels)
                for label, boxes, scores in zip(labels, all_boxes, all_scores, strict=False):  # not those filled in
                    found = postprocess(boxes, scores, self._detect_settings)
                    # records larger than the model have been resized with their padding: map back by their letterbox
                    found = found._replace(boxes_xyxy=found.boxes_xyxy * (source.image_size / size))
                    letterbox = Letterbox.square(label.height, label.width, source.image_size)
                    detections.append(to_detections(*found, letterbox, names))
                images += labels
                advance(len(labels))
        return Observed(images, detections, sums)

    def _model(self, shape: tuple[int, ...]) -> _LossesAndBoxes:
        """The graph for boxes [B, M, 5]: TensorFlow, given a second shape, would leave B and M open."""
        if shape not in self._models:
            self._models[shape] = _LossesAndBoxes(self.detector, self._loss)
            self._models[shape].compile(jit_compile=self._jit_compile)
        return self._models[shape]


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
