"""Ground truth to per-location targets, for a whole batch at once.

Two rules decide which box a location answers for (`Architecture.assignment`):

`area` (the mission's): a box belongs to one level by its area; its locations are those strictly inside it with
|grid - centre / stride| <= max(1, side / stride) on each axis.

`ranges` (FCOS, arXiv 1904.01355, section 3.2): a location belongs to a box if it is strictly inside it, less than
`centre_radius` strides from its centre on each axis, and its largest distance to a side is in the level's range.

Under both, the box of the smallest area wins a contested location, the first one on a tie.
"""

from dataclasses import dataclass

import numpy as np
from keras import ops

from fcoslite.boxes import EPSILON, Tensor, area, grid_points, xyxy_to_ltrb
from fcoslite.models.presets import Architecture

# Boxes compared with all locations at a time. Memory grows with this, not with the boxes of an image.
_BLOCK = 16


@dataclass(frozen=True, slots=True)
class Targets:
    """What every location should say.

    Attributes:
        classes: [B, N, C] one-hot, all zero on background.
        distances: [B, N, 4] left, top, right, bottom in strides; zero on background.
        centerness: [B, N, 1] in [0, 1]; zero on background.
        positive: [B, N] float32, 1 where a box is assigned.
        class_weight: [B, N] float32, 0 on background inside a crowd, which is neither person nor background.
    """

    classes: Tensor
    distances: Tensor
    centerness: Tensor
    positive: Tensor
    class_weight: Tensor


def assign(
    boxes: Tensor, crowd: Tensor, mask: Tensor, architecture: Architecture, image_size: int, classes: int
) -> Targets:
    """Assign boxes to locations.

    Args:
        boxes: [B, M, 5] float32: class id (1 is channel 0), x_min, y_min, x_max, y_max in letterboxed pixels.
        crowd: [B, M] bool, boxes around a crowd.
        mask: [B, M] bool, False on padding.
        architecture: Strides, rule, limits and radius.
        image_size: Side of the letterboxed image, pixels.
        classes: Number of classes, C.

    Returns:
        Targets without gradients.
    """
    points, strides = grid_points(image_size, architecture.strides)
    real = ops.logical_and(mask, boxes[..., 0] > 0.5)
    best = _best_boxes(boxes[..., 1:], ops.logical_and(real, ops.logical_not(crowd)), architecture, points, strides)
    in_crowd = _inside_any(boxes[..., 1:], ops.logical_and(real, crowd), points)

    index, positive = best  # [B, N] each
    matched = ops.take_along_axis(boxes, index[..., None], axis=1)  # (B, N, 5)
    channel = ops.cast(matched[..., 0], "int32") - 1
    weight = ops.cast(positive, "float32")
    distances = xyxy_to_ltrb(points, matched[..., 1:]) / strides[:, None] * weight[..., None]
    return Targets(
        classes=ops.stop_gradient(ops.one_hot(channel, classes, dtype="float32") * weight[..., None]),
        distances=ops.stop_gradient(distances),
        centerness=ops.stop_gradient(centerness(distances) * weight[..., None]),
        positive=ops.stop_gradient(weight),
        class_weight=ops.stop_gradient(1.0 - ops.cast(ops.logical_and(in_crowd, ops.logical_not(positive)), "float32")),
    )


def centerness(distances_ltrb: Tensor) -> Tensor:
    """[..., 1] from distances [..., 4]: 1 in the middle of a box, 0 at its sides (FCOS, equation 3)."""
    left, top, right, bottom = [distances_ltrb[..., side] for side in range(4)]
    horizontal = ops.minimum(left, right) / (ops.maximum(left, right) + EPSILON)
    vertical = ops.minimum(top, bottom) / (ops.maximum(top, bottom) + EPSILON)
    return ops.sqrt(ops.maximum(horizontal * vertical, 0.0))[..., None]


def _best_boxes(
    boxes_xyxy: Tensor,
    candidates: Tensor,
    architecture: Architecture,
    points: np.ndarray,
    strides: np.ndarray,
) -> tuple[Tensor, Tensor]:
    """The index [B, N] of the box each location answers for, and whether it answers for one at all, [B, N]."""
    blocks, candidates = _blocks(boxes_xyxy), _blocks(candidates[..., None])[..., 0]
    count, batch = blocks.shape[0], ops.shape(boxes_xyxy)[0]

    def compare(block: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        best_area, best_index = state
        block_xyxy = ops.take(blocks, block, axis=0)  # (B, K, 4)
        eligible = _eligible(block_xyxy, architecture, points, strides)  # (B, N, K)
        eligible = ops.logical_and(eligible, ops.take(candidates, block, axis=0)[:, None, :])
        areas = ops.where(eligible, area(block_xyxy)[:, None, :], np.inf)
        smallest = ops.min(areas, axis=-1)
        better = smallest < best_area  # strict: the earlier box keeps a tie
        found = ops.cast(ops.argmin(areas, axis=-1), "int32") + ops.cast(block, "int32") * _BLOCK
        return ops.where(better, smallest, best_area), ops.where(better, found, best_index)

    start = (
        ops.full((batch, len(points)), np.inf, dtype="float32"),
        ops.zeros((batch, len(points)), dtype="int32"),
    )
    best_area, best_index = ops.fori_loop(0, count, compare, start)
    return best_index, best_area < np.inf


def _eligible(boxes_xyxy: Tensor, architecture: Architecture, points: np.ndarray, strides: np.ndarray) -> Tensor:
    """Whether the rule lets a location [N] answer for a box [B, K]: [B, N, K] bool."""
    boxes = boxes_xyxy[:, None, :, :]  # (B, 1, K, 4)
    distances = xyxy_to_ltrb(points[:, None, :], boxes)  # (B, N, K, 4)
    inside = ops.min(distances, axis=-1) > 0
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    step = strides[:, None, None]
    level = np.searchsorted(np.asarray(architecture.strides, np.float32), strides)  # (N,)
    limits = np.asarray(architecture.level_limits, np.float32)
    if architecture.assignment == "area":
        # the level of a box is how many limits its area exceeds
        box_level = ops.sum(ops.cast(area(boxes)[..., None] > limits, "int32"), axis=-1)  # (B, 1, K)
        on_level = box_level == level[:, None]
        grid = (points - strides[:, None] / 2) / strides[:, None]  # column, row
        radius = ops.maximum((boxes[..., 2:] - boxes[..., :2]) / step, 1.0)
        near = ops.all(ops.abs(grid[:, None, :] - centres / step) <= radius, axis=-1)
    else:
        low = np.concatenate([[0.0], limits]).astype(np.float32)[level]
        high = np.concatenate([limits, [np.inf]]).astype(np.float32)[level]
        largest = ops.max(distances, axis=-1)
        on_level = ops.logical_and(largest > low[:, None], largest <= high[:, None])
        near = ops.all(ops.abs(points[:, None, :] - centres) < architecture.centre_radius * step, axis=-1)
    return ops.logical_and(ops.logical_and(inside, on_level), near)


def _inside_any(boxes_xyxy: Tensor, wanted: Tensor, points: np.ndarray) -> Tensor:
    """Whether a location is strictly inside any wanted box: [B, N] bool."""
    blocks, wanted = _blocks(boxes_xyxy), _blocks(wanted[..., None])[..., 0]

    def compare(block: Tensor, found: Tensor) -> Tensor:
        distances = xyxy_to_ltrb(points[:, None, :], ops.take(blocks, block, axis=0)[:, None])
        inside = ops.logical_and(ops.min(distances, axis=-1) > 0, ops.take(wanted, block, axis=0)[:, None, :])
        return ops.logical_or(found, ops.any(inside, axis=-1))

    start = ops.zeros((ops.shape(boxes_xyxy)[0], len(points)), dtype="bool")
    return ops.fori_loop(0, blocks.shape[0], compare, start)


def _blocks(values: Tensor) -> Tensor:
    """[B, M, D] -> [M / K, B, K, D] with zeros (empty boxes, False) at the end."""
    batch, boxes, depth = ops.shape(values)
    count = -(-boxes // _BLOCK)
    values = ops.pad(values, [[0, 0], [0, count * _BLOCK - boxes], [0, 0]])
    return ops.transpose(ops.reshape(values, (batch, count, _BLOCK, depth)), (1, 0, 2, 3))
