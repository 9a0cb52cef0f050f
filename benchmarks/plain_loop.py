"""The mission's procedure as plainly as its document reads, to measure ours against.

Eager TensorFlow: an image and a box at a time, one call of the model a step, GroupNormalization as Keras has it.
Its results are the same; tests/test_benchmarks.py compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

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
    """Of one image: a tensor a level, `[H, W, ...]`."""

    classes: list[tf.Tensor]
    distances: list[tf.Tensor]
    centerness: list[tf.Tensor]
    positive: list[tf.Tensor]


def assign_image(boxes: np.ndarray, image_size: int, classes: int) -> Targets:
    """Targets of one image from its boxes [n, 5]: class id, x_min, y_min, x_max, y_max. One box after the other."""
    sides = [image_size // stride for stride in STRIDES]
    targets = Targets(
        [tf.zeros((side, side, classes)) for side in sides],
        [tf.zeros((side, side, 4)) for side in sides],
        [tf.zeros((side, side, 1)) for side in sides],
        [tf.zeros((side, side), tf.bool) for side in sides],
    )
    taken = [tf.fill((side, side), np.inf) for side in sides]  # area of the box that has a location
    for class_id, x_min, y_min, x_max, y_max in tf.constant(boxes, tf.float32):
        area = (x_max - x_min) * (y_max - y_min)
        level = sum(bool(area > limit) for limit in LEVEL_LIMITS)
        stride = float(STRIDES[level])
        x_grid, y_grid = tf.meshgrid(*[tf.range(sides[level], dtype=tf.float32)] * 2)
        x, y = x_grid * stride + stride / 2, y_grid * stride + stride / 2
        in_box = (x > x_min) & (x < x_max) & (y > y_min) & (y < y_max)
        near_x = tf.abs(x_grid - (x_min + x_max) / 2 / stride) <= tf.maximum(1.0, (x_max - x_min) / stride)
        near_y = tf.abs(y_grid - (y_min + y_max) / 2 / stride) <= tf.maximum(1.0, (y_max - y_min) / stride)
        where = tf.where(in_box & near_x & near_y & (area < taken[level]))
        if not len(where):
            continue
        x, y = tf.gather_nd(x, where), tf.gather_nd(y, where)
        left, top, right, bottom = ((x - x_min), (y - y_min), (x_max - x), (y_max - y))
        distances = tf.stack([left, top, right, bottom], axis=-1) / stride
        left, top, right, bottom = tf.unstack(distances, axis=-1)
        horizontal = tf.minimum(left, right) / (tf.maximum(left, right) + 1e-6)
        vertical = tf.minimum(top, bottom) / (tf.maximum(top, bottom) + 1e-6)
        ones = tf.ones(len(where))
        one_hot = tf.one_hot(tf.fill((len(where),), tf.cast(class_id, tf.int32) - 1), classes)
        update = tf.tensor_scatter_nd_update
        taken[level] = update(taken[level], where, ones * area)
        targets.classes[level] = update(targets.classes[level], where, one_hot)
        targets.distances[level] = update(targets.distances[level], where, distances)
        targets.centerness[level] = update(targets.centerness[level], where, tf.sqrt(horizontal * vertical)[:, None])
        targets.positive[level] = update(targets.positive[level], where, tf.cast(ones, tf.bool))
    return targets


def losses(outputs: dict[str, tf.Tensor], targets: Sequence[Targets], image_size: int) -> tf.Tensor:
    """Total loss of a batch, image by image and level by level. Focal, GIoU and centerness, as the mission has them."""
    positives = sum(float(tf.reduce_sum(tf.cast(level, tf.float32))) for image in targets for level in image.positive)
    normalizer = max(1.0, positives)
    centerness_sum = sum(float(tf.reduce_sum(level)) for image in targets for level in image.centerness)
    class_loss = box_loss = centerness_loss = tf.constant(0.0)
    for number, image in enumerate(targets):
        start = 0
        for level, stride in enumerate(STRIDES):
            side = image_size // stride
            part = slice(start, start + side * side)
            start += side * side
            logits = tf.reshape(outputs["class_logits"][number, part], (side, side, -1))
            distances = tf.reshape(outputs["distances"][number, part], (side, side, 4))
            quality = tf.reshape(outputs["quality_logits"][number, part], (side, side, 1))
            class_loss += tf.reduce_sum(_focal(logits, image.classes[level])) / normalizer
            where = tf.where(image.positive[level])
            if not len(where):
                continue
            x, y = (tf.cast(where[:, axis], tf.float32) * stride + stride / 2 for axis in (1, 0))
            predicted = _decode(x, y, tf.gather_nd(distances, where) * stride)
            wanted = _decode(x, y, tf.gather_nd(image.distances[level], where) * stride)
            box_loss += tf.reduce_sum(1.0 - tf.clip_by_value(_giou(predicted, wanted), -1.0, 1.0)) / normalizer
            bce = tf.nn.sigmoid_cross_entropy_with_logits(
                labels=tf.gather_nd(image.centerness[level], where), logits=tf.gather_nd(quality, where)
            )
            centerness_loss += tf.reduce_sum(bce) / max(1.0, centerness_sum + 1e-6)
    return class_loss + box_loss + centerness_loss


def train_step(
    network: keras.Model, optimizer: keras.optimizers.Optimizer, images: np.ndarray, boxes: Sequence[np.ndarray]
) -> float:
    """One update on uint8 images [B, S, S, 3]; the loss before it."""
    size = images.shape[1]
    targets = [assign_image(each, size, 1) for each in boxes]
    with tf.GradientTape() as tape:
        outputs = network(tf.cast(images, tf.float32) / 255.0, training=True)
        total = losses(outputs, targets, size)
    gradients = tape.gradient(total, network.trainable_variables)
    optimizer.apply(gradients, network.trainable_variables)
    return float(total)


def _focal(logits: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    bce = tf.nn.sigmoid_cross_entropy_with_logits(labels=wanted, logits=logits)
    probability = tf.sigmoid(logits)
    right = tf.where(wanted == 1.0, probability, 1.0 - probability)
    return tf.where(wanted == 1.0, 0.25, 0.75) * (1.0 - right) ** 2.0 * bce


def _decode(x: tf.Tensor, y: tf.Tensor, distances: tf.Tensor) -> list[tf.Tensor]:
    left, top, right, bottom = tf.unstack(distances, axis=-1)
    return [x - left, y - top, x + right, y + bottom]


def _giou(a: list[tf.Tensor], b: list[tf.Tensor]) -> tf.Tensor:
    low_x, low_y, high_x, high_y = (
        tf.maximum(a[0], b[0]), tf.maximum(a[1], b[1]), tf.minimum(a[2], b[2]), tf.minimum(a[3], b[3])
    )  # fmt: skip
    intersection = tf.maximum(high_x - low_x, 0.0) * tf.maximum(high_y - low_y, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection
    width = tf.maximum(a[2], b[2]) - tf.minimum(a[0], b[0])
    height = tf.maximum(a[3], b[3]) - tf.minimum(a[1], b[1])
    return intersection / (union + 1e-6) - (width * height - union) / (width * height + 1e-6)
