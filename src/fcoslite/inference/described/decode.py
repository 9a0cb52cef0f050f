"""From a described network's outputs to boxes in pixels of its square."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fcoslite.errors import ConfigError
from fcoslite.inference.described.description import BoxOutputs, DenseOutputs

Outputs = Mapping[str, np.ndarray]  # by name, in the file's order

_HINT = "is it the description of this file?"


def decode_dense(
    outputs: Outputs, size: int, form: DenseOutputs, classes: Sequence[int], least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of the points at which a class scores enough.

    Args:
        outputs: Of one image.
        size: Side of the square, pixels.
        form: What they are.
        classes: The wanted classes' numbers in the file.
        least: Lowest score.

    Returns:
        Boxes [N, 4] float32 (x_min, y_min, x_max, y_max), pixels; scores [N] float32; and their places among the
        classes [N].

    Raises:
        ConfigError: The outputs have other shapes than the description says.
    """
    rows = _rows(outputs, size, form)  # (P, C)
    wanted = [form.score_channel + number for number in classes]
    last = max(*wanted, form.box_channel + 3, form.objectness_channel or 0)
    if last >= rows.shape[1]:
        raise ConfigError(f"channel {last} is described, and the outputs have {rows.shape[1]}", _HINT)
    scores = _activate(rows[:, wanted], form.activation)
    if form.objectness_channel is not None:
        scores = scores * _activate(rows[:, [form.objectness_channel]], form.activation)
    point, place = np.nonzero(scores >= least)
    grids = [points_of(size, stride, form).reshape(-1, 2) for stride in form.strides]
    points = np.concatenate(grids)
    strides = np.repeat(np.array(form.strides, np.float32), [len(grid) for grid in grids])[:, None]
    four = rows[point, form.box_channel : form.box_channel + 4]
    return boxes_of(four, points[point], strides[point], form.box), scores[point, place], place


def decode_boxes(
    outputs: Outputs, form: BoxOutputs, classes: Sequence[int], least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes that the network has decoded itself; arguments and results are those of `decode_dense`."""
    rows = _named(outputs, form.rows)
    columns = 5 if form.classes is not None else 6
    if rows.ndim != 3 or rows.shape[0] != 1 or rows.shape[2] < columns:
        shape = f"[1, K, {columns}]"
        raise ConfigError(f"output '{form.rows}' is {list(rows.shape)}, and is described as {shape}", _HINT)
    rows = rows[0].astype(np.float32)
    numbers = rows[:, 5] if form.classes is None else _named(outputs, form.classes).reshape(-1)
    count = len(rows) if form.count is None else int(_named(outputs, form.count).reshape(-1)[0])
    if len(numbers) != len(rows) or not 0 <= count <= len(rows):
        raise ConfigError(f"{count} boxes, {len(rows)} rows and {len(numbers)} class numbers do not agree", _HINT)
    matches = np.round(numbers[:count, None]) == np.array(classes)  # (K, classes)
    row, place = np.nonzero(matches & (rows[:count, 4:5] >= least))
    return rows[row, :4], rows[row, 4], place


def _rows(outputs: Outputs, size: int, form: DenseOutputs) -> np.ndarray:
    """All points' channels, [P, C] float32, stride after stride and line after line."""
    sides = [size // stride for stride in form.strides]
    arrays = list(outputs.values())
    if form.layout == "rows":
        points = sum(side * side for side in sides)
        if len(arrays) != 1 or arrays[0].ndim != 3 or arrays[0].shape[:2] != (1, points):
            raise _other_shapes(arrays, f"one of [1, {points}, channels]")
        return arrays[0][0].astype(np.float32)
    if form.layout == "nchw":
        arrays = [array.transpose(0, 2, 3, 1) if array.ndim == 4 else array for array in arrays]
    expected = [(1, side, side) for side in sides]
    channels = {array.shape[-1] for array in arrays}
    if [array.shape[:-1] for array in arrays] != expected or len(channels) != 1:
        raise _other_shapes(list(outputs.values()), f"maps of {', '.join(f'{side} x {side}' for side in sides)}")
    return np.concatenate([array.reshape(-1, array.shape[-1]) for array in arrays]).astype(np.float32)


def points_of(size: int, stride: int, form: DenseOutputs) -> np.ndarray:
    """Where the points of one of the grids of a square lie, [H, W, 2] float32 (x, y), pixels."""
    steps = (np.arange(size // stride, dtype=np.float32) + np.float32(form.first_point)) * stride
    return np.stack(np.meshgrid(steps, steps), axis=-1)


def boxes_of(four: Any, points: Any, strides: Any, box: str, module: Any = np) -> Any:
    """Boxes [..., 4] (x_min, y_min, x_max, y_max), pixels, from what is said of them [..., 4] at points [..., 2].

    Args:
        four: The channels of the boxes.
        points: Pixels.
        strides: A number, or [..., 1].
        box: As of `DenseOutputs`.
        module: Whose arrays these are: numpy, or keras.ops, which has the same functions.
    """
    first, second = four[..., :2], four[..., 2:]
    if box in ("sides-pixels", "sides-strides"):
        scale = strides if box == "sides-strides" else 1.0
        low, high = points - first * scale, points + second * scale
    else:
        centre, extent = first, second
        if box == "yolox":
            # yolox/models/yolo_head.py, decode_outputs; no sane width is e**20 strides, and exp must not overflow
            centre, extent = points + first * strides, module.exp(module.minimum(second, 20.0)) * strides
        low, high = centre - extent / 2, centre + extent / 2
    return module.concatenate([low, high], axis=-1)


def _activate(channels: np.ndarray, activation: str) -> np.ndarray:
    if activation == "none":
        return channels
    return np.asarray(0.5 * (1 + np.tanh(0.5 * channels)))  # the sigmoid, without an overflow


def _named(outputs: Outputs, name: str) -> np.ndarray:
    if name not in outputs:
        raise ConfigError(f"output '{name}' is described, and there is none", f"there are: {', '.join(outputs)}")
    return outputs[name]


def _other_shapes(arrays: Sequence[np.ndarray], described: str) -> ConfigError:
    shapes = ", ".join(str(list(array.shape)) for array in arrays[:8])
    return ConfigError(f"the outputs are {shapes}, and are described as {described}", _HINT)
