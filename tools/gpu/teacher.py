"""An ONNX network of convolutions as a JAX function, so that a teacher runs inside the training step.

Knows the few operators that one-stage detectors are made of. Feature maps are [B, H, W, C] here, which is what a GPU's
convolutions want; ONNX has [B, C, H, W], so axes are renamed on the way. Needs the `onnx` package to read the file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import onnx
from onnx import numpy_helper

# of RTMDet: BGR
MEAN = np.array([103.53, 116.28, 123.675], np.float32)
DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)
STRIDES = (8, 16, 32)

_AXES = {0: 0, 1: 3, 2: 1, 3: 2}  # of [B, C, H, W] in [B, H, W, C]


def load_network(path: Path, dtype: Any = jnp.float32) -> Callable[[jax.Array], list[jax.Array]]:
    """The network of an ONNX file: its input as [B, H, W, C] -> its outputs, feature maps as [B, H, W, C].

    Raises:
        NotImplementedError: It holds an operator that is not known here.
    """
    graph = onnx.load(str(path)).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    attributes = [{one.name: onnx.helper.get_attribute_value(one) for one in node.attribute} for node in graph.node]

    def run(images: jax.Array) -> list[jax.Array]:
        values: dict[str, Any] = {graph.input[0].name: images.astype(dtype)}
        for node, options in zip(graph.node, attributes, strict=True):
            arguments = [values[name] if name in values else constants.get(name) for name in node.input]
            values[node.output[0]] = _apply(node.op_type, arguments, options)
        return [values[one.name].astype(jnp.float32) for one in graph.output]

    return run


def _apply(kind: str, arguments: list[Any], attributes: dict[str, Any]) -> jax.Array:
    x = arguments[0]
    if kind == "Conv":
        return _convolve(x, *arguments[1:], attributes)
    if kind == "Sigmoid":
        return jax.nn.sigmoid(x)
    if kind == "HardSigmoid":
        return jnp.clip(attributes.get("alpha", 0.2) * x + attributes.get("beta", 0.5), 0.0, 1.0).astype(x.dtype)
    if kind == "Mul":
        return x * arguments[1]
    if kind == "Add":
        return x + arguments[1]
    if kind == "Concat":
        return jnp.concatenate(arguments, axis=_AXES[attributes["axis"]])
    if kind == "GlobalAveragePool":
        return jnp.mean(x, axis=(1, 2), keepdims=True)
    if kind == "MaxPool":
        window, pads = attributes["kernel_shape"], _pads(attributes)
        steps = attributes.get("strides", [1, 1])
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, *window, 1), (1, *steps, 1), ((0, 0), *pads, (0, 0)))
    if kind == "Resize":
        factor = [int(value) for value in np.asarray(arguments[2])[2:]]
        return jnp.repeat(jnp.repeat(x, factor[0], axis=1), factor[1], axis=2)
    if kind == "Transpose" and attributes["perm"] == [0, 2, 3, 1]:
        return x  # which is how it lies here
    raise NotImplementedError(f"{kind} {attributes}")


def _convolve(x: jax.Array, kernel: np.ndarray, bias: np.ndarray, attributes: dict[str, Any]) -> jax.Array:
    # [out, in, h, w] -> [h, w, in, out]
    weights = jnp.asarray(kernel.transpose(2, 3, 1, 0), x.dtype)
    if attributes["group"] == x.shape[-1] > 1 and attributes["strides"] == [1, 1]:
        # as fast as the network beside it; SAME and this padding are the same without strides
        return keras.ops.depthwise_conv(x, weights.transpose(0, 1, 3, 2), padding="same") + jnp.asarray(bias, x.dtype)
    y = jax.lax.conv_general_dilated(
        x,
        weights,
        window_strides=attributes["strides"],
        padding=_pads(attributes),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=attributes["group"],
    )
    return y + jnp.asarray(bias, x.dtype)


def _pads(attributes: dict[str, Any]) -> list[tuple[int, int]]:
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    return [(top, bottom), (left, right)]


def normalise(images: jax.Array) -> jax.Array:
    """[B, S, S, 3], RGB in [0, 1] -> what RTMDet takes."""
    return (images[..., ::-1] * 255.0 - MEAN) / DEVIATION


def dense_targets(maps: list[jax.Array], strides: tuple[int, ...], size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What a network whose grid begins at 0 says at the middles of our cells.

    Args:
        maps: [B, S / s, S / s, 5] for every stride of STRIDES: logit, then left, top, right, bottom in pixels.
        strides: Of the student's levels.
        size: S.

    Returns:
        Of all the student's locations: scores [B, N], the mean of the four neighbours; boxes_xyxy [B, N, 4], of the
        best of them; and known [N], 0 on levels that the teacher does not have.
    """
    batch = maps[0].shape[0]
    scores, boxes, known = [], [], []
    by_stride = dict(zip(STRIDES, maps, strict=True))
    for stride in strides:
        side = size // stride
        if stride not in by_stride:
            scores.append(jnp.zeros((batch, side * side)))
            boxes.append(jnp.zeros((batch, side * side, 4)))
            known.append(np.zeros(side * side, np.float32))
            continue
        level = jnp.pad(by_stride[stride], ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
        place = np.minimum(np.arange(side + 1), side - 1) * stride
        x, y = np.meshgrid(place, place)
        xyxy = jnp.stack([x - level[..., 1], y - level[..., 2], x + level[..., 3], y + level[..., 4]], axis=-1)
        score = jax.nn.sigmoid(level[..., 0])
        corners = [(slice(i, side + i), slice(j, side + j)) for i in (0, 1) for j in (0, 1)]
        four = jnp.stack([score[:, rows, columns] for rows, columns in corners], axis=-1)  # (B, side, side, 4)
        four_boxes = jnp.stack([xyxy[:, rows, columns] for rows, columns in corners], axis=-2)
        best = jnp.argmax(four, axis=-1)[..., None, None]
        chosen = jnp.take_along_axis(four_boxes, best, axis=-2)[..., 0, :]
        scores.append(jnp.mean(four, axis=-1).reshape(batch, -1))
        boxes.append(chosen.reshape(batch, -1, 4))
        known.append(np.ones(side * side, np.float32))
    return jnp.concatenate(scores, 1), jnp.concatenate(boxes, 1), jnp.asarray(np.concatenate(known))
