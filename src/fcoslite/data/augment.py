"""Normalising, resizing and augmentation of whole batches, inside the training step, on the accelerator."""

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from fcoslite.boxes import Tensor, area
from fcoslite.config import AugmentSettings
from fcoslite.letterbox import PAD_COLOUR

# a box of which less is left inside the image is neither worth learning nor background
_VISIBLE = 0.3
_GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601


def normalise(images: Tensor) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 in [0, 1]."""
    return ops.cast(images, "float32") / 255.0


def unpack(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A batch of `data.pipeline` -> images [B, S, S, 3] in [0, 1] and boxes [B, M, 6].

    A box is its class id (0 is padding), x_min, y_min, x_max, y_max in pixels, and 1 where it is only to be ignored,
    as a crowd is.
    """
    ignored = ops.cast(batch["crowd"], "float32")[..., None]
    return normalise(batch["images"]), ops.concatenate([batch["boxes"], ignored], axis=-1)


def resize(images: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Images [B, S, S, 3] and boxes [B, M, 6] at another size; both as they are where that is their size."""
    if images.shape[1] == size:
        return images, boxes
    corner = ops.zeros((ops.shape(images)[0], 2))
    return crop(images, boxes, corner, corner[:, 0] + images.shape[1], size)


def crop(images: Tensor, boxes: Tensor, corner: Tensor, side: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cut a square out of every image and resize it, anti-aliased; what lies outside the image has the pad colour.

    Linear interpolation of one axis is a matrix product, and of two, one after the other. When the square shrinks,
    the triangle that weighs the pixels widens in proportion.

    Args:
        images: [B, S, S, 3] in [0, 1].
        boxes: [B, M, 6] of `unpack`.
        corner: [B, 2], x and y of the square's upper left corner, pixels.
        side: [B], of the square, pixels.
        size: Side of the result, T.

    Returns:
        Images [B, T, T, 3] and boxes in their pixels. A box of which too little is left is ignored, and padding
        where nothing is.
    """
    source = images.shape[1]
    step = (side / size)[:, None]  # (B, 1) source pixels a pixel
    line = np.arange(size, dtype=np.float32) + 0.5

    def weights(start: Tensor) -> Tensor:
        """[B, T, S]."""
        centre = start[:, None] + line * step  # (B, T)
        reach = ops.maximum(step, 1.0)[..., None]
        distance = ops.abs(np.arange(source, dtype=np.float32) + 0.5 - centre[..., None])
        triangle = ops.maximum(1.0 - distance / reach, 0.0)
        inside = ops.cast(ops.logical_and(centre > 0, centre < source), "float32")[..., None]
        return triangle / ops.maximum(ops.sum(triangle, axis=-1, keepdims=True), 1e-6) * inside

    pad = np.asarray(PAD_COLOUR, np.float32) / 255.0
    pixels = ops.reshape(images - pad, (-1, source, source * 3))
    rows = ops.reshape(ops.matmul(weights(corner[:, 1]), pixels), (-1, size, source, 3))
    rows = ops.reshape(ops.transpose(rows, (0, 2, 1, 3)), (-1, source, size * 3))
    columns = ops.reshape(ops.matmul(weights(corner[:, 0]), rows), (-1, size, size, 3))
    resized = ops.transpose(columns, (0, 2, 1, 3)) + pad

    moved = (boxes[..., 1:5] - ops.tile(corner, (1, 2))[:, None]) / step[:, None]
    kept = ops.clip(moved, 0.0, float(size))
    seen = area(kept)
    classes = ops.where(seen > 0, boxes[..., 0], 0.0)
    ignored = ops.where(seen > _VISIBLE * area(moved), boxes[..., 5], ops.sign(classes))
    return resized, ops.concatenate([classes[..., None], kept, ignored[..., None]], axis=-1)


class Augment(keras.layers.Layer):
    """Zoom, mosaic, horizontal flip, colour shifts and Gaussian noise, drawn for each image.

    Its random state is a variable of the model, so a checkpoint of the model holds it.
    """

    def __init__(self, settings: AugmentSettings, size: int, batch_size: int, seed: int) -> None:
        super().__init__(name="augment", dtype="float32")
        self.size = size
        self.mosaics = round(settings.mosaic * batch_size)
        self.settings = settings
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: [B, S, S, 3] in [0, 1].
            boxes: [B, M, 6] of `unpack`.

        Returns:
            Both, changed: images are [B, T, T, 3] and clipped to [0, 1]; with mosaic there are 4 · M boxes.
        """
        settings = self.settings
        each = (ops.shape(images)[0], 1, 1, 1)
        if self.mosaics:
            images, boxes = self._put_together(images, boxes, self.mosaics)
        else:
            images, boxes = self._zoom(images, boxes, self.size)
        if settings.flip_probability:
            flip = keras.random.uniform(each, seed=self.random) < settings.flip_probability
            images = ops.where(flip, ops.flip(images, axis=2), images)
            size = images.shape[2]
            sides = [size - boxes[..., 3], boxes[..., 2], size - boxes[..., 1], boxes[..., 4]]
            flipped = ops.concatenate([boxes[..., :1], ops.stack(sides, axis=-1), boxes[..., 5:]], axis=-1)
            boxes = ops.where(flip[:, 0], flipped, boxes)
        if settings.brightness and settings.brightness_probability:
            shift = keras.random.uniform(each, -settings.brightness, settings.brightness, seed=self.random)
            chosen = keras.random.uniform(each, seed=self.random) < settings.brightness_probability
            images = images + shift * ops.cast(chosen, "float32")
        if settings.contrast:
            factor = 1.0 + keras.random.uniform(each, -settings.contrast, settings.contrast, seed=self.random)
            mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
            images = mean + (images - mean) * factor
        if settings.saturation:
            factor = 1.0 + keras.random.uniform(each, -settings.saturation, settings.saturation, seed=self.random)
            grey = ops.sum(images * np.asarray(_GREY, np.float32), axis=-1, keepdims=True)
            images = grey + (images - grey) * factor
        if settings.noise and settings.noise_probability:
            noise = keras.random.normal(ops.shape(images), stddev=settings.noise, seed=self.random)
            chosen = keras.random.uniform(each, seed=self.random) < settings.noise_probability
            images = images + noise * ops.cast(chosen, "float32")
        return ops.clip(images, 0.0, 1.0), boxes

    def _zoom(self, images: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
        if self.settings.scale == (1.0, 1.0):
            return resize(images, boxes, size)
        source, batch = images.shape[1], ops.shape(images)[0]
        low, high = np.log(self.settings.scale)  # as likely to halve as to double
        zoom = ops.exp(keras.random.uniform((batch,), low, high, seed=self.random))
        side = source / zoom
        # a square larger than the image lies around it, a smaller one within it
        corner = keras.random.uniform((batch, 2), seed=self.random) * (source - side)[:, None]
        return crop(images, boxes, corner, side, size)

    def _put_together(self, images: Tensor, boxes: Tensor, mosaics: int) -> tuple[Tensor, Tensor]:
        """The first images of the batch become mosaics of themselves and their three successors, at half the size."""
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
        plain, plain_boxes = self._zoom(images[mosaics:], boxes[mosaics:], self.size)
        plain_boxes = ops.pad(plain_boxes, [[0, 0], [0, 3 * boxes.shape[1]], [0, 0]])
        together = ops.concatenate([ops.concatenate(rows, axis=1), plain], axis=0)
        return together, ops.concatenate([mosaic_boxes, plain_boxes], axis=0)
