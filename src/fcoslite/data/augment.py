"""Normalising and augmentation of whole batches, inside the training step, on the accelerator."""

import keras
from keras import ops

from fcoslite.boxes import Tensor
from fcoslite.config import AugmentSettings


def normalise(images: Tensor) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 in [0, 1]."""
    return ops.cast(images, "float32") / 255.0


class Augment(keras.layers.Layer):
    """Horizontal flip, brightness shift and Gaussian noise, drawn for each image.

    Its random state is a variable of the model, so a checkpoint of the model holds it.
    """

    def __init__(self, settings: AugmentSettings, seed: int) -> None:
        super().__init__(name="augment", dtype="float32")
        self.settings = settings
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: [B, S, S, 3] in [0, 1].
            boxes: [B, M, 5] float32: class id, x_min, y_min, x_max, y_max in pixels.

        Returns:
            Both, changed; images are clipped to [0, 1].
        """
        settings = self.settings
        each = (ops.shape(images)[0], 1, 1, 1)
        if settings.flip_probability:
            flip = keras.random.uniform(each, seed=self.random) < settings.flip_probability
            images = ops.where(flip, ops.flip(images, axis=2), images)
            size = images.shape[2]
            flipped = ops.stack(
                [boxes[..., 0], size - boxes[..., 3], boxes[..., 2], size - boxes[..., 1], boxes[..., 4]],
                axis=-1,
            )
            boxes = ops.where(flip[:, 0], flipped, boxes)
        if settings.brightness and settings.brightness_probability:
            shift = keras.random.uniform(each, -settings.brightness, settings.brightness, seed=self.random)
            chosen = keras.random.uniform(each, seed=self.random) < settings.brightness_probability
            images = images + shift * ops.cast(chosen, "float32")
        if settings.noise and settings.noise_probability:
            noise = keras.random.normal(ops.shape(images), stddev=settings.noise, seed=self.random)
            chosen = keras.random.uniform(each, seed=self.random) < settings.noise_probability
            images = images + noise * ops.cast(chosen, "float32")
        return ops.clip(images, 0.0, 1.0), boxes
