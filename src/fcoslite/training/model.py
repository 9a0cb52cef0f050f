"""The model that is trained: a detector with augmentation and losses, compiled."""

from collections.abc import Mapping
from typing import Any

import keras

from fcoslite.config.settings import ScheduleSettings, Settings
from fcoslite.fcos.ground_truth import unpack
from fcoslite.fcos.losses import detection_losses
from fcoslite.geometry.batch_images import resize
from fcoslite.geometry.boxes import Tensor
from fcoslite.machine.backend import compile_with_xla
from fcoslite.machine.tiers import choose_precision
from fcoslite.models.detector import Detector
from fcoslite.training.augment import Augment
from fcoslite.training.optimizer import build_optimizer


class TrainingModel(keras.Model):
    """A detector and what surrounds it in training: normalising, augmentation, assignment and losses.

    A batch goes in whole; its boxes come out beside the outputs, because augmentation moves them.
    """

    def __init__(self, detector: Detector, settings: Settings) -> None:
        # float32: the policy of the network's own layers is theirs; boxes and losses need the bits
        super().__init__(name="training", dtype="float32")
        self.network = detector.network
        self.detector = detector
        self.loss_settings = settings.loss
        self.augment = Augment(settings.augment, detector.image_size, settings.compute.batch_size, settings.seed)
        self.class_loss = keras.metrics.Mean(name="class_loss")
        self.box_loss = keras.metrics.Mean(name="box_loss")
        self.quality_loss = keras.metrics.Mean(name="quality_loss")

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
            images, boxes = self.augment(images, boxes)
        else:
            images, boxes = resize(images, boxes, self.detector.image_size)
        return {**self.network(images, training=training), "boxes": boxes}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Assign the boxes, compute the losses, note their parts."""
        losses = detection_losses(y_pred, y_pred["boxes"], self.detector, self.loss_settings)
        self.class_loss.update_state(losses.classes)
        self.box_loss.update_state(losses.boxes)
        self.quality_loss.update_state(losses.quality)
        return losses.total


def build_training_model(
    detector: Detector, settings: Settings, schedule: ScheduleSettings, steps: int
) -> TrainingModel:
    """A compiled model; `steps` is the number of batches of the whole run.

    `detector` must have been built with the precision of the settings.
    """
    compute = settings.compute
    model = TrainingModel(detector, settings)
    optimizer = build_optimizer(schedule, compute.accumulation, steps)
    if choose_precision(compute.precision) == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer=optimizer, jit_compile=compile_with_xla(compute.compile))
    # now, not at the first step: a state can be loaded before training starts
    optimizer.build(model.trainable_variables)
    return model
