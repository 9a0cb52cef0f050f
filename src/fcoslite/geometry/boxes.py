"""Box geometry on any backend. Boxes are xyxy in pixels unless a name says otherwise."""

from typing import Any

from keras import ops

Tensor = Any  # a Keras tensor, or whatever the backend or Numpy calls one

EPSILON = 1e-6  # the original detector's, in every denominator


def ltrb_to_xyxy(points_xy: Tensor, distances_ltrb: Tensor) -> Tensor:
    """Boxes [..., 4] from points [..., 2] and distances [..., 4] to the left, top, right and bottom side."""
    return ops.concatenate([points_xy - distances_ltrb[..., :2], points_xy + distances_ltrb[..., 2:]], axis=-1)


def area(boxes_xyxy: Tensor) -> Tensor:
    """Areas [...] of boxes [..., 4]; an inverted box has area 0."""
    sides = ops.maximum(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]


def iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Intersection over union [...] of boxes [..., 4] that broadcast against each other."""
    return _iou_and_union(a_xyxy, b_xyxy)[0]


def giou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Generalized IoU [...], in [-1, 1] (arXiv 1902.09630): IoU less the empty share of the enclosing box."""
    overlap, union = _iou_and_union(a_xyxy, b_xyxy)
    low = ops.minimum(a_xyxy[..., :2], b_xyxy[..., :2])
    high = ops.maximum(a_xyxy[..., 2:], b_xyxy[..., 2:])
    enclosing = area(ops.concatenate([low, high], axis=-1))
    return overlap - (enclosing - union) / (enclosing + EPSILON)


def _iou_and_union(a_xyxy: Tensor, b_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    low = ops.maximum(a_xyxy[..., :2], b_xyxy[..., :2])
    high = ops.minimum(a_xyxy[..., 2:], b_xyxy[..., 2:])
    intersection = area(ops.concatenate([low, high], axis=-1))
    union = area(a_xyxy) + area(b_xyxy) - intersection
    return intersection / (union + EPSILON), union


def take_rows(values: Tensor, index: Tensor) -> Tensor:
    """Rows of each image by their index: [B, N, D], [B, K] int32 -> [B, K, D].

    `ops.take_along_axis` would do, but transposes and tiles on TensorFlow.
    """
    batch, rows, depth = ops.shape(values)
    first = ops.arange(batch, dtype="int32")[:, None] * rows
    return ops.take(ops.reshape(values, (-1, depth)), index + first, axis=0)
