"""Ground truth to per-location targets, for a whole batch at once.

Four rules decide which box a location answers for (`Architecture.assignment`):

`area` (the mission's): a box belongs to one level by its area; its locations are those strictly inside it with
|grid - centre / stride| <= max(1, side / stride) on each axis.

`ranges` (FCOS, arXiv 1904.01355, section 3.2): a location belongs to a box if it is strictly inside it, less than
`centre_radius` strides from its centre on each axis, and its largest distance to a side is in the level's range.

`atss` (arXiv 1912.02424): of each level, the 9 locations nearest to the box's centre are candidates; those belong to
it that are inside it and whose anchor, a square of 8 strides, overlaps it by at least the mean plus the standard
deviation of the candidates' IoUs.

`task_aligned` (TOOD, arXiv 2108.07755, section 3.2): the 13 locations inside a box that score best by
score · IoU⁶ of what the network predicts there belong to it.

A contested location goes to the box of the smallest area (`area`, `ranges`), the greatest IoU of its anchor (`atss`) or
of what it predicts (`task_aligned`); to the first one on a tie.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from keras import ops

from fcoslite.boxes import EPSILON, Tensor, area, grid_points, iou, ltrb_to_xyxy, take_rows, xyxy_to_ltrb
from fcoslite.models.presets import Architecture

# Boxes compared with all locations at a time. Memory grows with this, not with the boxes of an image.
_BLOCK = 16

_ATSS_CANDIDATES = 9  # a level, arXiv 1912.02424, section 4.4.2
_ATSS_ANCHOR = 8.0  # side of an anchor, strides
_TAL_CANDIDATES = 13  # a box, TOOD, section 4.1
_TAL_IOU_EXPONENT = 6.0

# A compiler may compute the same figure twice and round it in two ways: a tie is what differs by no more than this
_ROUNDING = 1e-6


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
    boxes: Tensor,
    crowd: Tensor,
    mask: Tensor,
    architecture: Architecture,
    image_size: int,
    classes: int,
    outputs: dict[str, Tensor],
) -> Targets:
    """Assign boxes to locations.

    Args:
        boxes: [B, M, 5] float32: class id (1 is channel 0), x_min, y_min, x_max, y_max in letterboxed pixels.
        crowd: [B, M] bool, boxes around a crowd.
        mask: [B, M] bool, False on padding.
        architecture: Strides, rule, limits and radius.
        image_size: Side of the letterboxed image, pixels.
        classes: Number of classes, C.
        outputs: What the network says, see `Detector.network`; read by `task_aligned` alone.

    Returns:
        Targets without gradients.
    """
    points, strides = grid_points(image_size, architecture.strides)
    real = ops.logical_and(mask, boxes[..., 0] > 0.5)
    rule = _rule(architecture, points, strides, outputs)
    best = _best_boxes(boxes, ops.logical_and(real, ops.logical_not(crowd)), rule, len(points))
    in_crowd = _inside_any(boxes[..., 1:], ops.logical_and(real, crowd), points)

    index, positive = best  # [B, N] each
    matched = take_rows(boxes, index)  # (B, N, 5)
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


def _best_boxes(boxes: Tensor, candidates: Tensor, rule: "_Rule", locations: int) -> tuple[Tensor, Tensor]:
    """The index [B, N] of the box each location answers for, and whether it answers for one at all, [B, N]."""
    blocks, candidates = _blocks(boxes), _blocks(candidates[..., None])[..., 0]
    batch = ops.shape(boxes)[0]

    def compare(block: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        best_cost, best_index = state
        eligible, costs = rule(ops.take(blocks, block, axis=0))  # (B, N, K) each
        eligible = ops.logical_and(eligible, ops.take(candidates, block, axis=0)[:, None, :])
        costs = ops.where(eligible, costs, np.inf)
        smallest = ops.min(costs, axis=-1)
        better = smallest < best_cost  # strict: the earlier box keeps a tie
        found = ops.cast(ops.argmin(costs, axis=-1), "int32") + ops.cast(block, "int32") * _BLOCK
        return ops.where(better, smallest, best_cost), ops.where(better, found, best_index)

    start = (
        ops.full((batch, locations), np.inf, dtype="float32"),
        ops.zeros((batch, locations), dtype="int32"),
    )
    best_cost, best_index = ops.fori_loop(0, _blocks_in_use(candidates), compare, start)
    return best_index, best_cost < np.inf


# Boxes [B, K, 5] to whether a location may answer for a box, [B, N, K] bool, and what that costs, [B, N, K] or less
_Rule = Callable[[Tensor], tuple[Tensor, Tensor]]


def _rule(architecture: Architecture, points: np.ndarray, strides: np.ndarray, outputs: dict[str, Tensor]) -> _Rule:
    if architecture.assignment == "atss":
        return lambda boxes: _atss(boxes[..., 1:], points, strides)
    if architecture.assignment == "task_aligned":
        scores = ops.stop_gradient(ops.sigmoid(outputs["class_logits"]))
        predicted = ops.stop_gradient(ltrb_to_xyxy(points, outputs["distances"] * strides[:, None]))
        return lambda boxes: _task_aligned(boxes, points, scores, predicted)
    return lambda boxes: _by_geometry(boxes[..., 1:], architecture, points, strides)


def _atss(boxes_xyxy: Tensor, points: np.ndarray, strides: np.ndarray) -> tuple[Tensor, Tensor]:
    boxes = boxes_xyxy[:, None, :, :]  # (B, 1, K, 4)
    half = strides[:, None] * (_ATSS_ANCHOR / 2)
    anchors = np.concatenate([points - half, points + half], axis=-1)[:, None, :]  # (N, 1, 4)
    overlap = iou(anchors, boxes)  # (B, N, K)
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    squared = ops.sum(ops.square(points[:, None, :] - centres), axis=-1)  # (B, N, K)
    near = []
    start = 0
    for stride in np.unique(strides):
        count = int(np.sum(strides == stride))
        level = squared[:, start : start + count]
        nearest, _ = ops.top_k(-ops.transpose(level, (0, 2, 1)), min(_ATSS_CANDIDATES, count))  # (B, K, 9)
        # all that are as near as the ninth: a tie has no order that a mirrored image would share
        near.append(level <= -nearest[..., -1][:, None, :] * (1.0 + _ROUNDING))
        start += count
    candidate = ops.cast(ops.concatenate(near, axis=1), "float32")
    number = ops.sum(candidate, axis=1, keepdims=True)
    mean = ops.sum(overlap * candidate, axis=1, keepdims=True) / number
    variance = ops.sum(ops.square(overlap - mean) * candidate, axis=1, keepdims=True) / ops.maximum(number - 1, 1)
    inside = ops.min(xyxy_to_ltrb(points[:, None, :], boxes), axis=-1) > 0
    good = ops.logical_and(candidate > 0, overlap >= mean + ops.sqrt(variance) - _ROUNDING)
    return ops.logical_and(good, inside), 1.0 - overlap


def _task_aligned(boxes: Tensor, points: np.ndarray, scores: Tensor, predicted_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    boxes_xyxy = boxes[:, None, :, 1:]  # (B, 1, K, 4)
    overlap = iou(predicted_xyxy[:, :, None, :], boxes_xyxy)  # (B, N, K)
    wanted = ops.one_hot(ops.cast(boxes[..., 0], "int32") - 1, scores.shape[-1], dtype="float32")  # (B, K, C)
    score = ops.einsum("bnc,bkc->bnk", scores, wanted)
    inside = ops.min(xyxy_to_ltrb(points[:, None, :], boxes_xyxy), axis=-1) > 0
    alignment = ops.where(inside, score * ops.power(overlap, _TAL_IOU_EXPONENT), 0.0)
    best, _ = ops.top_k(ops.transpose(alignment, (0, 2, 1)), min(_TAL_CANDIDATES, len(points)))  # (B, K, 13)
    chosen = ops.logical_and(alignment >= best[..., -1][:, None, :] * (1.0 - _ROUNDING), alignment > 0)
    return chosen, 1.0 - overlap


def _by_geometry(
    boxes_xyxy: Tensor, architecture: Architecture, points: np.ndarray, strides: np.ndarray
) -> tuple[Tensor, Tensor]:
    """`area` and `ranges`."""
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
    return ops.logical_and(ops.logical_and(inside, on_level), near), area(boxes)


def _inside_any(boxes_xyxy: Tensor, wanted: Tensor, points: np.ndarray) -> Tensor:
    """Whether a location is strictly inside any wanted box: [B, N] bool."""
    blocks, wanted = _blocks(boxes_xyxy), _blocks(wanted[..., None])[..., 0]

    def compare(block: Tensor, found: Tensor) -> Tensor:
        distances = xyxy_to_ltrb(points[:, None, :], ops.take(blocks, block, axis=0)[:, None])
        inside = ops.logical_and(ops.min(distances, axis=-1) > 0, ops.take(wanted, block, axis=0)[:, None, :])
        return ops.logical_or(found, ops.any(inside, axis=-1))

    start = ops.zeros((ops.shape(boxes_xyxy)[0], len(points)), dtype="bool")
    return ops.fori_loop(0, _blocks_in_use(wanted), compare, start)


def _blocks_in_use(wanted: Tensor) -> Tensor:
    """How many of the blocks [M / K, B, K] come before the end of the last one that holds a wanted box.

    Images have few boxes and room for many.
    """
    numbers = np.arange(1, wanted.shape[0] + 1, dtype="int32")
    return ops.max(ops.where(ops.any(wanted, axis=(1, 2)), numbers, 0))


def _blocks(values: Tensor) -> Tensor:
    """[B, M, D] -> [M / K, B, K, D] with zeros (empty boxes, False) at the end."""
    batch, boxes, depth = ops.shape(values)
    count = -(-boxes // _BLOCK)
    values = ops.pad(values, [[0, 0], [0, count * _BLOCK - boxes], [0, 0]])
    return ops.transpose(ops.reshape(values, (batch, count, _BLOCK, depth)), (1, 0, 2, 3))
