"""Non-maximum suppression within each class, in a graph."""

import keras
import numpy as np
from keras import ops

from fcoslite.geometry.boxes import Tensor, iou, take_rows


def non_max_suppression(
    boxes_xyxy: Tensor,
    scores: Tensor,
    classes: Tensor | None,
    iou_threshold: float,
    score_threshold: float,
    limit: int,
) -> tuple[Tensor, Tensor]:
    """Greedy NMS within each class: the best box stays, boxes overlapping it by more than the threshold go.

    Args:
        boxes_xyxy: [B, K, 4].
        scores: [B, K].
        classes: [B, K] int; None where there is but one.
        iou_threshold: Overlap above which the lesser box goes.
        score_threshold: Boxes must score more.
        limit: Most boxes per image, D.

    Returns:
        Indices [B, D] int32, best first, -1 after the last; and their number [B] int32.
    """
    boxes_xyxy, scores = ops.convert_to_tensor(boxes_xyxy), ops.convert_to_tensor(scores)
    if classes is None and keras.backend.backend() == "tensorflow":
        return _native_nms(boxes_xyxy, scores, iou_threshold, score_threshold, limit)
    batch = ops.shape(scores)[0]
    slots = np.arange(limit, dtype=np.int32)

    def unfinished(step: Tensor, left: Tensor, chosen: Tensor) -> Tensor:
        return ops.logical_and(step < limit, ops.any(left > score_threshold))

    def choose(step: Tensor, left: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        best = ops.cast(ops.argmax(left, axis=1), "int32")[:, None]  # (B, 1)
        alive = ops.max(left, axis=1, keepdims=True) > score_threshold
        box = take_rows(boxes_xyxy, best)  # (B, 1, 4)
        beaten = iou(box, boxes_xyxy) > iou_threshold
        if classes is not None:
            beaten = ops.logical_and(beaten, classes == ops.take_along_axis(classes, best, axis=1))
        itself = ops.arange(ops.shape(left)[1], dtype="int32")[None] == best
        gone = ops.logical_and(ops.logical_or(beaten, itself), alive)
        chosen = ops.where(ops.logical_and(slots[None] == step, alive), best, chosen)
        return step + 1, ops.where(gone, 0.0, left), chosen

    start = (
        ops.convert_to_tensor(0, dtype="int32"),
        scores,
        ops.full((batch, limit), -1, dtype="int32"),
    )
    _, _, chosen = ops.while_loop(unfinished, choose, start)
    return chosen, ops.sum(ops.cast(chosen >= 0, "int32"), axis=1)


def _native_nms(
    boxes_xyxy: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, limit: int
) -> tuple[Tensor, Tensor]:
    """The same by TensorFlow's own operation, which knows no classes and is many times faster on a CPU."""
    import tensorflow as tf

    def one(image: tuple[Tensor, Tensor]) -> Tensor:
        boxes, score = image
        chosen = tf.image.non_max_suppression(boxes, score, limit, iou_threshold, score_threshold)
        return tf.pad(chosen, [[0, limit - tf.shape(chosen)[0]]], constant_values=-1)

    chosen = tf.map_fn(one, (boxes_xyxy, scores), fn_output_signature=tf.TensorSpec((limit,), tf.int32))
    return chosen, tf.reduce_sum(tf.cast(chosen >= 0, tf.int32), axis=1)
