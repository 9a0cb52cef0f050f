"""The smallest of the boxes a location may answer for: the rules `area` and `ranges` of `fcoslite.fcos.targets`.

Both rules compare a location with the sides and the centre of a box on each axis by itself, and locations stand in rows
and columns. So boxes are compared with the few rows and columns, not with every location. Thirty boxes, sorted by
area, are thirty bits of a number; a location's number is its row's and its column's, bit by bit, and its lowest bit is
its smallest box.
"""

from collections.abc import Callable

import numpy as np
from keras import ops

from fcoslite.fcos.locations import grid_lines
from fcoslite.geometry.boxes import Tensor, area, take_rows
from fcoslite.models.presets import Architecture

_WORD = 30  # bits of a number: it stays positive in int32


def smallest_box(
    boxes: Tensor, candidates: Tensor, architecture: Architecture, image_size: int
) -> tuple[Tensor, Tensor]:
    """The box of every location.

    Args:
        boxes: [B, M, 5] float32: class id, x_min, y_min, x_max, y_max in pixels. M is at least 1, and static.
        candidates: [B, M] bool.
        architecture: Strides, rule (`area` or `ranges`), limits and radius.
        image_size: Side of the image, pixels.

    Returns:
        Boxes [B, N, 5], any one where there is none; and whether there is one, [B, N] bool. Of equal areas it is the
        earlier box.
    """
    areas = ops.where(candidates, area(boxes[..., 1:]), np.inf)
    boxes = take_rows(boxes, ops.cast(ops.argsort(areas, axis=1), "int32"))  # a stable sort
    number = ops.sum(ops.cast(candidates, "int32"), axis=1)[:, None]  # (B, 1)
    sorted_first = ops.arange(boxes.shape[1], dtype="int32") < number  # the candidates, (B, M)
    box_words, candidate_words = _words(boxes[..., 1:]), _words(sorted_first[..., None])
    rows, columns = _rows_and_columns(image_size, architecture.strides)
    lines, strides = _lines(image_size, architecture.strides)

    def look(index: Tensor, rank: Tensor) -> Tensor:
        """Take the smallest box of one word where none of the words before, of smaller boxes, has one."""
        word, real = ops.take(box_words, index, axis=1), ops.take(candidate_words, index, axis=1)[:, None, :, 0]
        x_fits, y_fits = (_fits(word, axis, architecture, lines, strides) for axis in (0, 1))
        bits = _by_location(_bits(ops.logical_and(x_fits, real)), _bits(y_fits), rows, columns, ops.bitwise_and)
        if architecture.assignment == "ranges":
            # the largest distance is beyond the lower limit where that of either axis is
            x_beyond, y_beyond = (_bits(_is_beyond(word, axis, architecture, lines, strides)) for axis in (0, 1))
            bits = ops.bitwise_and(bits, _by_location(x_beyond, y_beyond, rows, columns, ops.bitwise_or))
        lowest = ops.maximum(ops.bitwise_and(bits, -bits), 1)
        # a power of two is exact in float32, and its logarithm nearly; Keras has no operation that counts zeros
        position = ops.cast(ops.round(ops.log2(ops.cast(lowest, "float32"))), "int32")
        return ops.where(ops.logical_and(rank < 0, bits > 0), position + ops.cast(index, "int32") * _WORD, rank)

    start = ops.full((ops.shape(boxes)[0], len(rows)), -1, dtype="int32")
    rank = ops.fori_loop(0, _words_of(ops.max(number)), look, start)
    return take_rows(boxes, ops.maximum(rank, 0)), rank >= 0


def inside_any(boxes_xyxy: Tensor, wanted: Tensor, image_size: int, strides: tuple[int, ...]) -> Tensor:
    """Whether a location is strictly inside any wanted box.

    Args:
        boxes_xyxy: [B, M, 4], pixels. M is at least 1, and static.
        wanted: [B, M] bool.
        image_size: Side of the image, pixels.
        strides: Of the levels, pixels.

    Returns:
        [B, N] bool.
    """
    rows, columns = _rows_and_columns(image_size, strides)
    lines, _ = _lines(image_size, strides)
    box_words, wanted_words = _words(boxes_xyxy), _words(wanted[..., None])

    def look(index: Tensor, found: Tensor) -> Tensor:
        word, real = ops.take(box_words, index, axis=1), ops.take(wanted_words, index, axis=1)[:, None, :, 0]
        x_inside, y_inside = (_is_inside(word, axis, lines) for axis in (0, 1))
        bits = _by_location(_bits(ops.logical_and(x_inside, real)), _bits(y_inside), rows, columns, ops.bitwise_and)
        return ops.logical_or(found, bits > 0)

    last = ops.max(ops.where(wanted, np.arange(1, wanted.shape[1] + 1, dtype="int32"), 0))
    start = ops.zeros((ops.shape(wanted)[0], len(rows)), dtype="bool")
    return ops.fori_loop(0, _words_of(last), look, start)


def _fits(boxes_xyxy: Tensor, axis: int, architecture: Architecture, lines: np.ndarray, strides: np.ndarray) -> Tensor:
    """Whether a line fits a box as far as one axis (0 is x) can tell: [B, T, K] bool."""
    low, high = (boxes_xyxy[:, None, :, side] for side in (axis, axis + 2))  # (B, 1, K)
    centre, at, step = (low + high) / 2, lines[:, None], strides[:, None]
    level = _level(architecture, strides)
    limits = np.asarray(architecture.level_limits, np.float32)
    if architecture.assignment == "area":
        # the level of a box is how many limits its area exceeds
        box_level = ops.sum(ops.cast(area(boxes_xyxy)[..., None] > limits, "int32"), axis=-1)[:, None]  # (B, 1, K)
        on_level = box_level == level
        near = ops.abs((at - step / 2) / step - centre / step) <= ops.maximum((high - low) / step, 1.0)
    else:
        on_level = ops.maximum(at - low, high - at) <= np.append(limits, np.float32(np.inf))[level]
        near = ops.abs(at - centre) < architecture.centre_radius * step
    return ops.logical_and(_is_inside(boxes_xyxy, axis, lines), ops.logical_and(near, on_level))


def _is_beyond(
    boxes_xyxy: Tensor, axis: int, architecture: Architecture, lines: np.ndarray, strides: np.ndarray
) -> Tensor:
    """Whether a side of a box is further from a line than the lower limit of the line's level: [B, T, K] bool."""
    low, high = (boxes_xyxy[:, None, :, side] for side in (axis, axis + 2))
    limits = np.asarray((0.0, *architecture.level_limits), np.float32)[_level(architecture, strides)]
    return ops.maximum(lines[:, None] - low, high - lines[:, None]) > limits


def _is_inside(boxes_xyxy: Tensor, axis: int, lines: np.ndarray) -> Tensor:
    """Whether a line runs between the sides of a box: [B, T, K] bool."""
    low, high = (boxes_xyxy[:, None, :, side] for side in (axis, axis + 2))
    return ops.logical_and(lines[:, None] > low, lines[:, None] < high)


def _level(architecture: Architecture, strides: np.ndarray) -> np.ndarray:
    """Index of every line's level, [T, 1]."""
    return np.searchsorted(np.asarray(architecture.strides, np.float32), strides)[:, None]


def _lines(image_size: int, strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Position and stride of the lines of all levels, [T] float32 each, pixels.

    An image is as high as it is wide, so rows and columns are the same lines.
    """
    each = [grid_lines(image_size, stride) for stride in strides]
    steps = [np.full(len(line), stride, np.float32) for line, stride in zip(each, strides, strict=True)]
    return np.concatenate(each), np.concatenate(steps)


def _rows_and_columns(image_size: int, strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every location, as indices of lines, [N] int32 each; in the order of `grid_points`."""
    places = []
    first = 0
    for stride in strides:
        side = image_size // stride
        places.append(first + np.indices((side, side), dtype=np.int32).reshape(2, -1))
        first += side
    rows, columns = np.concatenate(places, axis=1)
    return rows, columns


def _words_of(boxes: Tensor) -> Tensor:
    """How many words so many boxes take."""
    return (boxes + _WORD - 1) // _WORD


def _words(values: Tensor) -> Tensor:
    """[B, M, D] -> [B, W, 30, D], with zeros (empty boxes, False) after the last."""
    count = _words_of(values.shape[1])
    values = ops.pad(values, [[0, 0], [0, count * _WORD - values.shape[1]], [0, 0]])
    return ops.reshape(values, (-1, count, _WORD, values.shape[2]))


def _bits(flags: Tensor) -> Tensor:
    """[B, T, 30] bool -> [B, T] int32."""
    return ops.sum(ops.where(flags, 1 << np.arange(_WORD, dtype=np.int32), 0), axis=-1)


def _by_location(x: Tensor, y: Tensor, rows: np.ndarray, columns: np.ndarray, combine: Callable[..., Tensor]) -> Tensor:
    """The bits of every location, [B, N], from those of its column and its row, [B, T] each."""
    return combine(ops.take(x, columns, axis=1), ops.take(y, rows, axis=1))
