"""Normalising, resizing and augmentation of whole batches, inside the training step, on the accelerator."""

import math
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from fcoslite.config.settings import AugmentSettings
from fcoslite.geometry.boxes import Tensor, area
from fcoslite.geometry.letterbox import PAD_COLOUR
from fcoslite.machine.backend import in_one_pass

# a box of which less is left inside the image is neither worth learning nor background
_VISIBLE = 0.3
_NOISE_ROWS = 1024
_BLOCK = 16  # lines that are resampled together; 32 is as fast on a CPU
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
    source = images.shape[1]
    if source == size:
        return images, boxes
    corner = ops.zeros((ops.shape(images)[0], 2))
    return crop(images, boxes, corner, corner[:, 0] + source, size, source)


def crop(
    images: Tensor, boxes: Tensor, corner: Tensor, side: Tensor, size: int, largest: float
) -> tuple[Tensor, Tensor]:
    """Cut a square out of every image and resize it, anti-aliased; what lies outside the image has the pad colour.

    Args:
        images: [B, S, S, 3] in [0, 1].
        boxes: [B, M, 6] of `unpack`.
        corner: [B, 2], x and y of the square's upper left corner, pixels.
        side: [B], of the square, pixels.
        size: Side of the result, T.
        largest: That no side exceeds, pixels.

    Returns:
        Images [B, T, T, 3] and boxes in their pixels. A box of which too little is left is ignored, and padding
        where nothing is.
    """
    step = (side / size)[:, None, None]
    moved = (boxes[..., 1:5] - ops.tile(corner, (1, 2))[:, None]) / step
    kept = ops.clip(moved, 0.0, float(size))
    seen = area(kept)
    classes = ops.where(seen > 0, boxes[..., 0], 0.0)
    ignored = ops.where(seen > _VISIBLE * area(moved), boxes[..., 5], ops.sign(classes))
    cut = cut_squares(images, corner, side, size, largest)
    return cut, ops.concatenate([classes[..., None], kept, ignored[..., None]], axis=-1)


@in_one_pass
def cut_squares(images: Tensor, corner: Tensor, side: Tensor, size: int, largest: float) -> Tensor:
    """The images of `crop`.

    Linear interpolation of one axis is a matrix product, and of two, one after the other. When the square shrinks,
    the triangle that weighs the pixels widens in proportion.
    """
    source = images.shape[1]
    pad = np.asarray(PAD_COLOUR, np.float32) / 255.0
    pixels = ops.reshape(images - pad, (-1, source, source * 3))
    rows = ops.reshape(_resample(pixels, corner[:, 1], side, size, largest), (-1, size, source, 3))
    rows = ops.reshape(ops.transpose(rows, (0, 2, 1, 3)), (-1, source, size * 3))
    columns = ops.reshape(_resample(rows, corner[:, 0], side, size, largest), (-1, size, size, 3))
    return ops.transpose(columns, (0, 2, 1, 3)) + pad


def _resample(lines: Tensor, start: Tensor, side: Tensor, size: int, largest: float) -> Tensor:
    """Lines [B, S, W], interpolated at `size` places between `start` and `start` + `side` [B] -> [B, size, W].

    A block of results needs a window of the lines only, so the matrix is not multiplied as a whole: a product of the
    few entries around its diagonal is many times cheaper.
    """
    source, width = lines.shape[1:]
    step = (side / size)[:, None]  # (B, 1) lines a result
    reach = ops.maximum(step, 1.0)
    blocks = -(-size // _BLOCK)
    centre = start[:, None] + (np.arange(blocks * _BLOCK, dtype=np.float32) + 0.5) * step
    window = min(source, math.ceil(_BLOCK * largest / size + 2 * max(largest / size, 1.0)) + 2)
    first = ops.clip(ops.floor(centre[:, ::_BLOCK] - reach - 0.5), 0.0, float(source - window))  # (B, blocks)
    line = first[..., None] + np.arange(window, dtype=np.float32)
    image = ops.arange(ops.shape(lines)[0], dtype="int32")[:, None, None]
    used = ops.take(ops.reshape(lines, (-1, width)), ops.cast(line, "int32") + image * source, axis=0)

    centre = ops.reshape(centre, (-1, blocks, _BLOCK))
    distance = ops.abs(line[:, :, None] + 0.5 - centre[..., None])  # (B, blocks, BLOCK, window)
    triangle = ops.maximum(1.0 - distance / reach[..., None, None], 0.0)
    inside = ops.cast(ops.logical_and(centre > 0, centre < source), "float32")[..., None]
    weights = triangle / ops.maximum(ops.sum(triangle, axis=-1, keepdims=True), 1e-6) * inside
    return ops.reshape(ops.matmul(weights, used), (-1, blocks * _BLOCK, width))[:, :size]


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
    """Zoom, mosaic, horizontal flip, colour shifts and Gaussian noise, drawn for each image.

    Its random state is a variable of the model, so a checkpoint of the model holds it.
    """

    def __init__(self, settings: AugmentSettings, size: int, batch_size: int, seed: int) -> None:
        super().__init__(name="augment", dtype="float32")
        self.size = size
        self.mosaics = round(settings.mosaic * batch_size)
        self.settings = settings
        self.random = keras.random.SeedGenerator(seed)
        # normal numbers are by far the dearest: rows of them are made once, and each row of an image draws one
        rows = np.random.default_rng(seed).normal(size=(_NOISE_ROWS, size * 3)) if settings.noise else np.zeros((0, 0))
        self._noise_rows = ops.convert_to_tensor(rows, "float32")

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
        drawn: dict[str, Tensor] = {}
        if settings.flip_probability:
            drawn["flip"] = keras.random.uniform(each, seed=self.random) < settings.flip_probability
            size = images.shape[2]
            sides = [size - boxes[..., 3], boxes[..., 2], size - boxes[..., 1], boxes[..., 4]]
            flipped = ops.concatenate([boxes[..., :1], ops.stack(sides, axis=-1), boxes[..., 5:]], axis=-1)
            boxes = ops.where(drawn["flip"][:, 0], flipped, boxes)
        if settings.brightness and settings.brightness_probability:
            shift = keras.random.uniform(each, -settings.brightness, settings.brightness, seed=self.random)
            chosen = keras.random.uniform(each, seed=self.random) < settings.brightness_probability
            drawn["shift"] = shift * ops.cast(chosen, "float32")
        if settings.contrast:
            drawn["contrast"] = keras.random.uniform(each, -settings.contrast, settings.contrast, seed=self.random)
        if settings.saturation:
            drawn["saturation"] = keras.random.uniform(
                each, -settings.saturation, settings.saturation, seed=self.random
            )
        if settings.noise and settings.noise_probability:
            rows = keras.random.randint(ops.shape(images)[:2], 0, _NOISE_ROWS, seed=self.random)
            drawn["noise"] = ops.reshape(ops.take(self._noise_rows, rows, axis=0), ops.shape(images))
            chosen = keras.random.uniform(each, seed=self.random) < settings.noise_probability
            drawn["noise_scale"] = settings.noise * ops.cast(chosen, "float32")
        return change_pixels(images, drawn), boxes

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
