"""The smallest of the boxes a location may answer for: the rules `area` and `ranges` of `fcoslite.assignment`.

Both rules compare a location with the sides and the centre of a box on each axis by itself, and locations stand in rows
and columns. So boxes are compared with the few rows and columns, not with every location. Thirty boxes, sorted by
area, are thirty bits of a number; a location's number is its row's and its column's, bit by bit, and its lowest bit is
its smallest box.
"""

import numpy as np
from keras import ops

from fcoslite.boxes import Tensor, area, take_rows
from fcoslite.models.presets import Architecture

_WORD = 30  # bits of a number: it stays positive in int32


def smallest_box(
    boxes: Tensor, candidates: Tensor, architecture: Architecture, image_size: int
) -> tuple[Tensor, Tensor]:
    """The box of every location.

    Args:
        boxes: [B, M, 5] float32: class id, x_min, y_min, x_max, y_max in pixels.
        candidates: [B, M] bool.
        architecture: Strides, rule (`area` or `ranges`), limits and radius.
        image_size: Side of the image, pixels.

    Returns:
        Boxes [B, N, 5], and whether there is one, [B, N] bool; of equal areas it is the earlier.
    """
    areas = ops.where(candidates, area(boxes[..., 1:]), np.inf)
    order = ops.argsort(areas, axis=1)  # a stable sort
    boxes = take_rows(boxes, ops.cast(order, "int32"))
    number = ops.sum(ops.cast(candidates, "int32"), axis=1)[:, None]  # (B, 1)
    candidates = ops.arange(boxes.shape[1], dtype="int32") < number
    rows, columns, lines, strides = _lines(image_size, architecture.strides)

    def smaller(word: Tensor, first: Tensor) -> Tensor:
        """Boxes of one word; they are larger than all that came before."""
        (x_fits, x_beyond), (y_fits, y_beyond) = (
            _on_axis(_word(boxes, word), axis, architecture, lines, strides) for axis in (1, 2)
        )
        here = _bits(ops.logical_and(x_fits, _word(candidates[..., None], word)[:, None, :, 0]))
        bits = ops.bitwise_and(_take(here, columns), _take(_bits(y_fits), rows))
        if architecture.assignment == "ranges":
            beyond = ops.bitwise_or(_take(_bits(x_beyond), columns), _take(_bits(y_beyond), rows))
            bits = ops.bitwise_and(bits, beyond)
        lowest = ops.maximum(ops.bitwise_and(bits, -bits), 1)
        found = ops.cast(ops.round(ops.log2(ops.cast(lowest, "float32"))), "int32") + ops.cast(word, "int32") * _WORD
        return ops.where(ops.logical_and(first < 0, bits > 0), found, first)

    start = ops.full((ops.shape(boxes)[0], len(rows)), -1, dtype="int32")
    first = ops.fori_loop(0, _words(ops.max(number)), smaller, start)
    return take_rows(boxes, ops.maximum(first, 0)), first >= 0


def inside_any(boxes_xyxy: Tensor, wanted: Tensor, image_size: int, strides: tuple[int, ...]) -> Tensor:
    """Whether a location is strictly inside any wanted box.

    Args:
        boxes_xyxy: [B, M, 4], pixels.
        wanted: [B, M] bool.
        image_size: Side of the image, pixels.
        strides: Of the levels, pixels.

    Returns:
        [B, N] bool.
    """
    rows, columns, lines, _ = _lines(image_size, strides)

    def look(word: Tensor, found: Tensor) -> Tensor:
        these, real = _word(boxes_xyxy, word), _word(wanted[..., None], word)[:, None, :, 0]
        x_inside, y_inside = (_inside(these, axis, lines) for axis in (0, 1))
        bits = ops.bitwise_and(_take(_bits(ops.logical_and(x_inside, real)), columns), _take(_bits(y_inside), rows))
        return ops.logical_or(found, bits > 0)

    last = ops.max(ops.where(wanted, np.arange(1, wanted.shape[1] + 1, dtype="int32"), 0))
    start = ops.zeros((ops.shape(wanted)[0], len(rows)), dtype="bool")
    return ops.fori_loop(0, _words(last), look, start)


def _on_axis(
    boxes: Tensor, axis: int, architecture: Architecture, lines: np.ndarray, strides: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Whether the rule holds on one axis (1 is x), and whether a side is beyond the level's lower limit: [B, T, K]."""
    low, high = (boxes[:, None, :, side] for side in (axis, axis + 2))  # (B, 1, K)
    inside = _inside(boxes, axis, lines)
    centre, at, step = (low + high) / 2, lines[:, None], strides[:, None]
    level = np.searchsorted(np.asarray(architecture.strides, np.float32), step)  # (T, 1)
    limits = np.asarray(architecture.level_limits, np.float32)
    if architecture.assignment == "area":
        # the level of a box is how many limits its area exceeds
        box_level = ops.sum(ops.cast(area(boxes[..., 1:])[..., None] > limits, "int32"), axis=-1)[:, None]  # (B, 1, K)
        near = ops.abs((at - step / 2) / step - centre / step) <= ops.maximum((high - low) / step, 1.0)
        fits = ops.logical_and(near, box_level == level)
        return ops.logical_and(inside, fits), inside
    farthest = ops.maximum(at - low, high - at)
    within = farthest <= np.concatenate([limits, [np.inf]]).astype(np.float32)[level]
    near = ops.abs(at - centre) < architecture.centre_radius * step
    beyond = farthest > np.concatenate([[0.0], limits]).astype(np.float32)[level]
    return ops.logical_and(inside, ops.logical_and(near, within)), beyond


def _inside(boxes: Tensor, axis: int, lines: np.ndarray) -> Tensor:
    """[B, T, K]: whether a line runs between a box's sides at `axis` and `axis + 2`."""
    return ops.logical_and(lines[:, None] > boxes[:, None, :, axis], lines[:, None] < boxes[:, None, :, axis + 2])


def _lines(image_size: int, strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row and column of every location [N], as indices of lines; and position and stride of the lines [T], pixels.

    The lines of all levels stand in a row; an image is as high as it is wide, so rows and columns are the same lines.
    """
    rows, columns, lines, steps = [], [], [], []
    first = 0
    for stride in strides:
        side = image_size // stride
        row, column = np.indices((side, side)).reshape(2, -1)
        rows.append(first + row)
        columns.append(first + column)
        lines.append(np.arange(side, dtype=np.float32) * stride + stride / 2)
        steps.append(np.full(side, stride, np.float32))
        first += side
    return tuple(np.concatenate(parts) for parts in (rows, columns, lines, steps))  # type: ignore[return-value]


def _words(boxes: Tensor) -> Tensor:
    """How many words so many boxes take."""
    return (boxes + _WORD - 1) // _WORD


def _word(values: Tensor, word: Tensor) -> Tensor:
    """[B, M, D] -> [B, 30, D], with zeros (empty boxes, False) after the last."""
    count = -(-values.shape[1] // _WORD)
    values = ops.pad(values, [[0, 0], [0, count * _WORD - values.shape[1]], [0, 0]])
    return ops.take(ops.reshape(values, (-1, count, _WORD, values.shape[2])), word, axis=1)


def _bits(flags: Tensor) -> Tensor:
    """[B, T, 30] bool -> [B, T] int32."""
    return ops.sum(ops.where(flags, 1 << np.arange(_WORD, dtype=np.int32), 0), axis=-1)


def _take(bits: Tensor, lines: np.ndarray) -> Tensor:
    """The bits of every location's row or column: [B, T] -> [B, N]."""
    return ops.take(bits, lines.astype(np.int32), axis=1)
