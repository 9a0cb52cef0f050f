"""Random changes of whole batches, inside the training step, on the accelerator."""

from collections.abc import Mapping
from math import ceil

import keras
import numpy as np
from keras import ops

from fcoslite.config.settings import AugmentSettings
from fcoslite.geometry.batch_images import crop, resize
from fcoslite.geometry.boxes import Tensor
from fcoslite.machine.backend import in_one_pass
from fcoslite.training.conditions import DRAWS, degrade, draw_kinds

_BRIGHTNESS_PROBABILITY = 0.5
_NOISE_PROBABILITY = 0.5
_NOISE_ROWS = 1024
_GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601


@in_one_pass
def change_pixels(images: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
    """Images [B, S, S, 3] in [0, 1], changed by what was drawn for them, in this order, and clipped to [0, 1].

    Args:
        images: The images.
        drawn: Of [B, 1, 1, 1], where wanted: whether to `flip` left and right; the `shift` of brightness; by how much
            `contrast` (about the image's mean) and `saturation` (about each pixel's grey) grow; `noise` [B, S, S, 3]
            and its `noise_scale`.
    """
    if "flip" in drawn:
        images = ops.where(drawn["flip"], ops.flip(images, axis=2), images)
    if "shift" in drawn:
        images = images + drawn["shift"]
    if "contrast" in drawn:
        mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        images = mean + (images - mean) * (1.0 + drawn["contrast"])
    if "saturation" in drawn:
        grey = ops.sum(images * np.asarray(_GREY, np.float32), axis=-1, keepdims=True)
        images = grey + (images - grey) * (1.0 + drawn["saturation"])
    if "noise" in drawn:
        images = images + drawn["noise"] * drawn["noise_scale"]
    return ops.clip(images, 0.0, 1.0)


class Augment(keras.layers.Layer):
    """Zoom, mosaic, horizontal flip, colour shifts, Gaussian noise and bad cameras, drawn for each image.

    Its random state is a variable of the model, so a checkpoint of the model holds it.
    """

    def __init__(self, settings: AugmentSettings, size: int, batch_size: int, seed: int) -> None:
        super().__init__(name="augment", dtype="float32")
        self.size = size
        # the first images of a batch, and its last: as few as can hold the share, each with this probability
        self.mosaics, self._mosaic_probability = _fewest(settings.mosaic * batch_size)
        self.conditions, self._conditions_probability = _fewest(settings.conditions * batch_size)
        self.settings = settings
        self.random = keras.random.SeedGenerator(seed)
        # normal random numbers cost the most by far: rows of them are made once, and each row of an image draws one
        noisy = settings.noise or settings.conditions
        rows = np.random.default_rng(seed).normal(size=(_NOISE_ROWS, size * 3)) if noisy else np.zeros((0, 0))
        self._noise_rows = ops.convert_to_tensor(rows, "float32")

    def call(self, images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: [B, S, S, 3] in [0, 1].
            boxes: [B, M, 6], see `fcos.ground_truth`.

        Returns:
            Both, changed: images are [B, T, T, 3] and clipped to [0, 1]; with mosaic there are 4 · M boxes.
        """
        settings = self.settings
        each = (ops.shape(images)[0], 1, 1, 1)
        if self.mosaics:
            images, boxes = self._put_together(images, boxes, self.mosaics)
        else:
            images, boxes = self._zoom(images, boxes, self.size)
        drawn: dict[str, Tensor] = {}
        if settings.flip_probability:
            drawn["flip"] = keras.random.uniform(each, seed=self.random) < settings.flip_probability
            size = images.shape[2]
            sides = [size - boxes[..., 3], boxes[..., 2], size - boxes[..., 1], boxes[..., 4]]
            flipped = ops.concatenate([boxes[..., :1], ops.stack(sides, axis=-1), boxes[..., 5:]], axis=-1)
            boxes = ops.where(drawn["flip"][:, 0], flipped, boxes)
        if settings.brightness:
            shift = keras.random.uniform(each, -settings.brightness, settings.brightness, seed=self.random)
            chosen = keras.random.uniform(each, seed=self.random) < _BRIGHTNESS_PROBABILITY
            drawn["shift"] = shift * ops.cast(chosen, "float32")
        if settings.contrast:
            drawn["contrast"] = keras.random.uniform(each, -settings.contrast, settings.contrast, seed=self.random)
        if settings.saturation:
            drawn["saturation"] = keras.random.uniform(
                each, -settings.saturation, settings.saturation, seed=self.random
            )
        if settings.noise:
            drawn["noise"] = self._draw_noise(ops.shape(images))
            chosen = keras.random.uniform(each, seed=self.random) < _NOISE_PROBABILITY
            drawn["noise_scale"] = settings.noise * ops.cast(chosen, "float32")
        return change_pixels(images, drawn), boxes

    def change_conditions(self, images: Tensor) -> Tensor:
        """The same images [B, S, S, 3], a share of them taken by a bad camera. A teacher sees them before."""
        if not self.conditions:
            return images
        first, last = images[: -self.conditions], images[-self.conditions :]
        return ops.concatenate([first, self._degraded(last)], axis=0)

    def _degraded(self, images: Tensor) -> Tensor:
        kinds = draw_kinds(keras.random.uniform((self.conditions,), seed=self.random), self._conditions_probability)
        draws = keras.random.uniform((self.conditions, DRAWS), seed=self.random)
        return degrade(images, kinds, draws, self._draw_noise(ops.shape(images)))

    def _draw_noise(self, shape: tuple[Tensor, ...]) -> Tensor:
        rows = keras.random.randint(shape[:2], 0, _NOISE_ROWS, seed=self.random)
        return ops.reshape(ops.take(self._noise_rows, rows, axis=0), shape)

    def _zoom(self, images: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
        if self.settings.scale == (1.0, 1.0):
            return resize(images, boxes, size)
        source, batch = images.shape[1], ops.shape(images)[0]
        low, high = np.log(self.settings.scale)  # as likely to halve as to double
        zoom = ops.exp(keras.random.uniform((batch,), low, high, seed=self.random))
        side = source / zoom
        # a square larger than the image lies around it, a smaller one within it
        corner = keras.random.uniform((batch, 2), seed=self.random) * (source - side)[:, None]
        return crop(images, boxes, corner, side, size, source / self.settings.scale[0])

    def _put_together(self, images: Tensor, boxes: Tensor, mosaics: int) -> tuple[Tensor, Tensor]:
        """The first images of the batch become mosaics of themselves and their three successors, at half the size.

        Where the share is no whole number of them, all are made, and by chance taken.
        """
        half = self.size // 2
        tiles, tile_boxes = [], []
        for index, (x, y) in enumerate([(0, 0), (half, 0), (0, half), (half, half)]):
            chosen = (np.arange(mosaics) + index) % ops.shape(images)[0]
            tile, inside = self._zoom(ops.take(images, chosen, axis=0), ops.take(boxes, chosen, axis=0), half)
            placed = inside[..., 1:5] + np.array([x, y, x, y], np.float32)
            tiles.append(tile)
            tile_boxes.append(ops.concatenate([inside[..., :1], placed, inside[..., 5:]], axis=-1))
        # the tiles' boxes take turns, so that all padding stays behind them
        mosaic_boxes = ops.reshape(ops.stack(tile_boxes, axis=2), (mosaics, 4 * boxes.shape[1], boxes.shape[2]))
        rows = [ops.concatenate(tiles[:2], axis=2), ops.concatenate(tiles[2:], axis=2)]
        mosaic = ops.concatenate(rows, axis=1)
        certain = self._mosaic_probability == 1.0
        first = mosaics if certain else 0
        plain, plain_boxes = self._zoom(images[first:], boxes[first:], self.size)
        plain_boxes = ops.pad(plain_boxes, [[0, 0], [0, 3 * boxes.shape[1]], [0, 0]])
        if not certain:
            taken = keras.random.uniform((mosaics, 1, 1, 1), seed=self.random) < self._mosaic_probability
            mosaic = ops.where(taken, mosaic, plain[:mosaics])
            mosaic_boxes = ops.where(taken[:, 0], mosaic_boxes, plain_boxes[:mosaics])
            plain, plain_boxes = plain[mosaics:], plain_boxes[mosaics:]
        return ops.concatenate([mosaic, plain], axis=0), ops.concatenate([mosaic_boxes, plain_boxes], axis=0)


def _fewest(wanted: float) -> tuple[int, float]:
    """The fewest images of a batch that can hold so many on average, and with what probability each is one."""
    count = ceil(wanted - 1e-9)  # a share of 0.3 of 10 images is a bit more than 3
    return count, min(1.0, wanted / max(1, count))
