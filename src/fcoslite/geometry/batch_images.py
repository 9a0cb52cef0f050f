"""Normalising, resizing and cropping of whole batches, on the accelerator."""

import math

import numpy as np
from keras import ops

from fcoslite.geometry.boxes import Tensor, area
from fcoslite.geometry.letterbox import PAD_COLOUR
from fcoslite.machine.backend import in_one_pass

# a box of which less is left inside the image is neither worth learning nor background
_VISIBLE = 0.3
_BLOCK = 16  # lines that are resampled together; 32 is as fast on a CPU


def normalise(images: Tensor) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 in [0, 1]."""
    return ops.cast(images, "float32") / 255.0


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
        boxes: [B, M, 6], see `fcos.ground_truth`.
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
    step = (side / size)[:, None]  # (B, 1) lines per result
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
