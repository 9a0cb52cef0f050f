"""Network outputs to boxes: decode, score, per-class non-maximum suppression, in one compiled graph."""

import keras
import numpy as np
from keras import ops

from fcoslite.config.settings import DetectSettings
from fcoslite.detections.detections import Detections
from fcoslite.geometry.boxes import Tensor, grid_points, iou, ltrb_to_xyxy, take_rows
from fcoslite.geometry.letterbox import Letterbox


def detect(
    outputs: dict[str, Tensor], image_size: int, strides: tuple[int, ...], settings: DetectSettings
) -> dict[str, Tensor]:
    """Find the boxes of a batch.

    Args:
        outputs: `class_logits` [B, N, C], `distances` [B, N, 4] in strides, `quality_logits` [B, N, 1] if
            there is a quality.
        image_size: Side of the letterboxed image, pixels.
        strides: Of the levels, pixels.
        settings: Thresholds and limits.

    Returns:
        `detections` [B, D, 6]: x_min, y_min, x_max, y_max in letterboxed pixels, score, class id (1 is channel 0),
        best first, zeros after the last; and `count` [B] int32.
    """
    points, step = grid_points(image_size, strides)
    classes = outputs["class_logits"].shape[-1]
    scores = ops.sigmoid(outputs["class_logits"])  # (B, N, C)
    if "quality_logits" in outputs:
        scores = scores * ops.sigmoid(outputs["quality_logits"])
    scores = ops.where(scores > settings.pre_filter, scores, 0.0)

    best_scores, best_index = [], []
    start = 0
    for stride in strides:
        locations = (image_size // stride) ** 2
        flat = ops.reshape(scores[:, start : start + locations], (-1, locations * classes))
        top, index = ops.top_k(flat, min(settings.top_k, locations * classes))
        best_scores.append(top)
        best_index.append(ops.cast(index, "int32") + start * classes)
        start += locations
    candidate_scores = ops.concatenate(best_scores, axis=1)  # (B, K)
    index = ops.concatenate(best_index, axis=1)
    location, channel = index // classes, index % classes
    distances = take_rows(outputs["distances"], location)  # (B, K, 4)
    boxes_xyxy = ltrb_to_xyxy(
        ops.take(points, location, axis=0), distances * ops.take(step, location, axis=0)[..., None]
    )

    chosen, count = non_max_suppression(
        boxes_xyxy,
        candidate_scores,
        channel if classes > 1 else None,
        settings.iou,
        settings.score,
        settings.max_detections,
    )
    class_ids = ops.cast(channel + 1, "float32")
    rows = ops.concatenate([boxes_xyxy, candidate_scores[..., None], class_ids[..., None]], axis=-1)  # (B, K, 6)
    found = take_rows(rows, ops.maximum(chosen, 0))
    return {"detections": found * ops.cast(chosen[..., None] >= 0, "float32"), "count": count}


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
        limit: Most boxes an image, D.

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


def to_detections(detections: np.ndarray, count: int, letterbox: Letterbox, class_names: tuple[str, ...]) -> Detections:
    """One image's rows [D, 6] of `detect` as Detections in pixels of the original image, cut at its border."""
    rows = np.asarray(detections)[: int(count)]
    return Detections(
        boxes_xyxy=letterbox.invert_boxes(rows[:, :4], clip=True),
        scores=rows[:, 4].astype(np.float32),
        class_ids=rows[:, 5].astype(np.int32),
        class_names=class_names,
    )
