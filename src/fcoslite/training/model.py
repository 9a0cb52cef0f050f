"""The model that is trained: a detector with augmentation and losses, compiled."""

from collections.abc import Mapping
from typing import Any

import keras

from fcoslite.config.settings import ScheduleSettings, Settings
from fcoslite.fcos.ground_truth import unpack
from fcoslite.fcos.losses import detection_losses
from fcoslite.fcos.teaching import Taught
from fcoslite.geometry.batch_images import resize
from fcoslite.geometry.boxes import Tensor
from fcoslite.machine.backend import compile_with_xla
from fcoslite.machine.tiers import choose_precision
from fcoslite.models.detector import Detector, loss_network
from fcoslite.training.augment import Augment
from fcoslite.training.optimizer import build_optimizer
from fcoslite.training.teacher import Teach


class TrainingModel(keras.Model):
    """A detector and what surrounds it in training: normalising, augmentation, assignment and losses.

    A batch goes in whole; its boxes come out beside the outputs, because augmentation moves them, and so does what a
    teacher says of the views.

    Args:
        detector: The student.
        settings: All of them.
        teach: The teacher; None: there is none.
    """

    def __init__(self, detector: Detector, settings: Settings, teach: Teach | None = None) -> None:
        # float32: the policy of the network's own layers is theirs; boxes and losses need the bits
        super().__init__(name="training", dtype="float32")
        self.network = loss_network(detector)
        self.detector = detector
        self.loss_settings = settings.loss
        self.augment = Augment(settings.augment, detector.image_size, settings.compute.batch_size, settings.seed)
        self.class_loss = keras.metrics.Mean(name="class_loss")
        self.box_loss = keras.metrics.Mean(name="box_loss")
        self.quality_loss = keras.metrics.Mean(name="quality_loss")
        self.teach = teach  # a function: its weights are none of this model's, and in no checkpoint
        self.teacher_loss = None if teach is None else keras.metrics.Mean(name="teacher_loss")

    def build(self, input_shape: Any = None) -> None:
        """Nothing to do: the network is built."""

    def switch_mosaic(self, on: bool) -> None:
        """Train with or without the mosaics that the settings ask for."""
        if not on and self.augment.mosaics:
            self.augment.mosaics = 0
            self.train_function = None  # Keras compiles it anew

    def call(self, batch: Mapping[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Batch of `data.sources.source` -> outputs, and the boxes they belong to."""
        images, boxes = unpack(batch, self.loss_settings)
        if training:
            seen, boxes = self.augment(images, boxes)
            images = self.augment.change_conditions(seen)
        else:
            images, boxes = resize(images, boxes, self.detector.image_size)
        outputs = {**self.network(images, training=training), "boxes": boxes}
        if training and self.teach is not None:
            taught = self.teach(seen)  # of the same view, by a good camera
            outputs["taught"] = {"scores": taught.scores, "boxes_xyxy": taught.boxes_xyxy, "known": taught.known}
        return outputs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Assign the boxes, compute the losses, note their parts."""
        taught = Taught(**y_pred["taught"]) if "taught" in y_pred else None
        losses = detection_losses(y_pred, y_pred["boxes"], self.detector, self.loss_settings, taught)
        self.class_loss.update_state(losses.classes)
        self.box_loss.update_state(losses.boxes)
        self.quality_loss.update_state(losses.quality)
        if self.teacher_loss is not None:
            self.teacher_loss.update_state(losses.teacher)
        return losses.total


def build_training_model(
    detector: Detector, settings: Settings, schedule: ScheduleSettings, steps: int, teach: Teach | None = None
) -> TrainingModel:
    """A compiled model.

    Args:
        detector: Built with the precision of the settings.
        settings: All of them.
        schedule: Of this phase.
        steps: Batches of the whole run.
        teach: The teacher; None: there is none.
    """
    compute = settings.compute
    model = TrainingModel(detector, settings, teach)
    optimizer = build_optimizer(schedule, compute.accumulation, steps)
    if choose_precision(compute.precision) == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer=optimizer, jit_compile=compile_with_xla(compute.compile))
    # now, not at the first step: a state can be loaded before training starts
    optimizer.build(model.trainable_variables)
    return model
