"""The original detector's training as plainly as its description reads, to measure ours against.

Eager, on either backend: an image and a box at a time, one call of the model a step, GroupNormalization as Keras has
it. Its results are the same; tests/test_benchmarks.py compares them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from fcoslite.geometry.boxes import Tensor
from fcoslite.models.head import ScaledExp
from fcoslite.models.layers import GroupNorm

LEVEL_LIMITS = (4096.0, 16384.0, 65536.0)
STRIDES = (4, 8, 16, 32)


def plain_network(network: keras.Model, dtype: str = "float32") -> keras.Model:
    """A copy with the same weights and Keras' GroupNormalization.

    On large maps that is off by up to 1e-3 in float32; compare in float64.
    """

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, ScaledExp):
            return ScaledExp(0.0, layer.name)
        kind = keras.layers.GroupNormalization if isinstance(layer, GroupNorm) else type(layer)
        return kind.from_config(layer.get_config() | {"dtype": dtype})

    plain = keras.models.clone_model(network, clone_function=copy)
    plain.set_weights(network.get_weights())
    return plain


@dataclass
class Targets:
    """Of one image: a tensor per level, `[H · W, ...]`."""

    classes: list[Tensor]
    distances: list[Tensor]
    centerness: list[Tensor]
    positive: list[Tensor]


def assign_image(boxes: np.ndarray, image_size: int, classes: int) -> Targets:
    """Targets of one image from its boxes [n, 5]: class id, x_min, y_min, x_max, y_max. One box after the other."""
    sides = [image_size // stride for stride in STRIDES]
    targets = Targets(
        [ops.zeros((side * side, classes)) for side in sides],
        [ops.zeros((side * side, 4)) for side in sides],
        [ops.zeros((side * side, 1)) for side in sides],
        [ops.zeros((side * side,), "bool") for side in sides],
    )
    taken = [ops.full((side * side,), np.inf) for side in sides]  # area of the box that has a location
    for class_id, x_min, y_min, x_max, y_max in boxes.tolist():
        area = (x_max - x_min) * (y_max - y_min)
        level = sum(area > limit for limit in LEVEL_LIMITS)
        stride, side = float(STRIDES[level]), sides[level]
        x_grid, y_grid = (ops.reshape(grid, (-1,)) for grid in ops.meshgrid(*[ops.arange(side, dtype="float32")] * 2))
        x, y = x_grid * stride + stride / 2, y_grid * stride + stride / 2
        in_box = (x > x_min) & (x < x_max) & (y > y_min) & (y < y_max)
        near_x = ops.abs(x_grid - (x_min + x_max) / 2 / stride) <= max(1.0, (x_max - x_min) / stride)
        near_y = ops.abs(y_grid - (y_min + y_max) / 2 / stride) <= max(1.0, (y_max - y_min) / stride)
        [where] = ops.nonzero(in_box & near_x & near_y & (area < taken[level]))
        count = where.shape[0]
        if not count:
            continue
        x, y = ops.take(x, where), ops.take(y, where)
        distances = ops.stack([x - x_min, y - y_min, x_max - x, y_max - y], axis=-1) / stride
        left, top, right, bottom = ops.unstack(distances, axis=-1)
        horizontal = ops.minimum(left, right) / (ops.maximum(left, right) + 1e-6)
        vertical = ops.minimum(top, bottom) / (ops.maximum(top, bottom) + 1e-6)
        one_hot = ops.one_hot(ops.full((count,), int(class_id) - 1, "int32"), classes)
        where = where[:, None]
        taken[level] = ops.scatter_update(taken[level], where, ops.full((count,), area))
        targets.classes[level] = ops.scatter_update(targets.classes[level], where, one_hot)
        targets.distances[level] = ops.scatter_update(targets.distances[level], where, distances)
        centerness = ops.sqrt(horizontal * vertical)[:, None]
        targets.centerness[level] = ops.scatter_update(targets.centerness[level], where, centerness)
        targets.positive[level] = ops.scatter_update(targets.positive[level], where, ops.ones((count,), "bool"))
    return targets


def losses(outputs: dict[str, Tensor], targets: Sequence[Targets], image_size: int) -> Tensor:
    """Total loss of a batch, image by image and level by level: focal, GIoU and centerness, as in the original."""
    positives = sum(float(ops.sum(ops.cast(level, "float32"))) for image in targets for level in image.positive)
    normalizer = max(1.0, positives)
    centerness_sum = sum(float(ops.sum(level)) for image in targets for level in image.centerness)
    class_loss = box_loss = centerness_loss = 0.0
    for number, image in enumerate(targets):
        start = 0
        for level, stride in enumerate(STRIDES):
            side = image_size // stride
            part = slice(start, start + side * side)
            start += side * side
            logits = outputs["class_logits"][number, part]
            class_loss += ops.sum(_focal(logits, image.classes[level])) / normalizer
            [where] = ops.nonzero(image.positive[level])
            if not where.shape[0]:
                continue
            x, y = (ops.cast(place, "float32") * stride + stride / 2 for place in (where % side, where // side))
            distances = ops.take(outputs["distances"][number, part], where, axis=0)
            predicted = _decode(x, y, distances * stride)
            wanted = _decode(x, y, ops.take(image.distances[level], where, axis=0) * stride)
            box_loss += ops.sum(1.0 - ops.clip(_giou(predicted, wanted), -1.0, 1.0)) / normalizer
            quality = ops.take(outputs["quality_logits"][number, part], where, axis=0)
            bce = _cross_entropy(quality, ops.take(image.centerness[level], where, axis=0))
            centerness_loss += ops.sum(bce) / max(1.0, centerness_sum + 1e-6)
    return class_loss + box_loss + centerness_loss


def train_step(
    network: keras.Model, optimizer: keras.optimizers.Optimizer, images: np.ndarray, boxes: Sequence[np.ndarray]
) -> float:
    """One update on uint8 images [B, S, S, 3]; the loss before it."""
    size = images.shape[1]
    targets = [assign_image(each, size, 1) for each in boxes]
    scaled = ops.cast(images, "float32") / 255.0
    total, gradients = _loss_and_gradients(network, scaled, lambda outputs: losses(outputs, targets, size))
    optimizer.apply(gradients, network.trainable_variables)
    return float(total)


def _loss_and_gradients(
    network: keras.Model, images: Tensor, loss: Callable[[dict[str, Tensor]], Tensor]
) -> tuple[Tensor, list[Tensor]]:
    if keras.backend.backend() == "jax":
        import jax

        others = [variable.value for variable in network.non_trainable_variables]

        def of_weights(weights: list[Any]) -> Tensor:
            return loss(network.stateless_call(weights, others, images, training=True)[0])

        total, gradients = jax.value_and_grad(of_weights)([each.value for each in network.trainable_variables])
        return total, gradients
    import tensorflow as tf

    with tf.GradientTape() as tape:
        total = loss(network(images, training=True))
    return total, tape.gradient(total, network.trainable_variables)


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    return ops.maximum(logits, 0.0) - logits * wanted + ops.log1p(ops.exp(-ops.abs(logits)))


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    probability = ops.sigmoid(logits)
    right = ops.where(wanted == 1.0, probability, 1.0 - probability)
    return ops.where(wanted == 1.0, 0.25, 0.75) * (1.0 - right) ** 2.0 * _cross_entropy(logits, wanted)


def _decode(x: Tensor, y: Tensor, distances: Tensor) -> list[Tensor]:
    left, top, right, bottom = ops.unstack(distances, axis=-1)
    return [x - left, y - top, x + right, y + bottom]


def _giou(a: list[Tensor], b: list[Tensor]) -> Tensor:
    low_x, low_y, high_x, high_y = (
        ops.maximum(a[0], b[0]), ops.maximum(a[1], b[1]), ops.minimum(a[2], b[2]), ops.minimum(a[3], b[3])
    )  # fmt: skip
    intersection = ops.maximum(high_x - low_x, 0.0) * ops.maximum(high_y - low_y, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection
    width = ops.maximum(a[2], b[2]) - ops.minimum(a[0], b[0])
    height = ops.maximum(a[3], b[3]) - ops.minimum(a[1], b[1])
    return intersection / (union + 1e-6) - (width * height - union) / (width * height + 1e-6)
