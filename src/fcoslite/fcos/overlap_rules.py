"""The box that costs a location least: the rules `atss` and `task_aligned` of `fcoslite.fcos.targets`."""

from collections.abc import Callable

import numpy as np
from keras import ops

from fcoslite.fcos.locations import grid_points
from fcoslite.geometry.boxes import Tensor, iou, ltrb_to_xyxy, take_rows, xyxy_to_ltrb
from fcoslite.models.presets import Architecture

# Boxes compared with all locations at a time. Memory grows with this, not with the boxes of an image.
_BLOCK = 16

_ATSS_CANDIDATES = 9  # a level, arXiv 1912.02424, section 4.4.2
_ATSS_ANCHOR = 8.0  # side of an anchor, strides
_TAL_CANDIDATES = 13  # a box, TOOD, section 4.1
_TAL_IOU_EXPONENT = 6.0

# A compiler may compute the same figure twice and round it in two ways: a tie is what differs by no more than this
_ROUNDING = 1e-6


def cheapest_box(
    boxes: Tensor, candidates: Tensor, architecture: Architecture, image_size: int, outputs: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The box of every location.

    Args:
        boxes: [B, M, 5] float32: class id (1 is channel 0), x_min, y_min, x_max, y_max in pixels.
        candidates: [B, M] bool.
        architecture: Strides and rule, `atss` or `task_aligned`.
        image_size: Side of the image, pixels.
        outputs: What the network says, see `Detector.network`; read by `task_aligned` alone.

    Returns:
        Boxes [B, N, 5], and whether there is one, [B, N] bool; of equal costs it is the earlier.
    """
    points, strides = grid_points(image_size, architecture.strides)
    rule = _rule(architecture, points, strides, outputs)
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
        ops.full((batch, len(points)), np.inf, dtype="float32"),
        ops.zeros((batch, len(points)), dtype="int32"),
    )
    best_cost, best_index = ops.fori_loop(0, _blocks_in_use(candidates), compare, start)
    return take_rows(boxes, best_index), best_cost < np.inf


# Boxes [B, K, 5] to whether a location may answer for a box, [B, N, K] bool, and what that costs, [B, N, K] or less
_Rule = Callable[[Tensor], tuple[Tensor, Tensor]]


def _rule(architecture: Architecture, points: np.ndarray, strides: np.ndarray, outputs: dict[str, Tensor]) -> _Rule:
    if architecture.assignment == "atss":
        return lambda boxes: _atss(boxes[..., 1:], points, strides)
    scores = ops.stop_gradient(ops.sigmoid(outputs["class_logits"]))
    predicted = ops.stop_gradient(ltrb_to_xyxy(points, outputs["distances"] * strides[:, None]))
    return lambda boxes: _task_aligned(boxes, points, scores, predicted)


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
