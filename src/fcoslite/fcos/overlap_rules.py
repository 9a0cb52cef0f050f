"""Rules by the overlap with a box: `atss` and `task_aligned` of `fcoslite.fcos.targets`."""

import numpy as np
from keras import ops

from fcoslite.fcos.ground_truth import channels, sides
from fcoslite.fcos.locations import Locations
from fcoslite.fcos.matching import Rule, inside
from fcoslite.geometry.boxes import Tensor, iou, ltrb_to_xyxy

_ATSS_CANDIDATES = 9  # per level, arXiv 1912.02424, section 4.4.2
_ATSS_ANCHOR = 8.0  # side of an anchor, strides
_TAL_CANDIDATES = 13  # per box, TOOD, section 4.1
_TAL_IOU_EXPONENT = 6.0

# A compiler may compute the same figure twice and round it in two ways: a tie is what differs by no more than this
_ROUNDING = 1e-6


def by_anchors(locations: Locations) -> Rule:
    """The rule `atss`: a box costs what the location's anchor does not overlap of it."""
    points = locations.points
    half = locations.strides[:, None] * (_ATSS_ANCHOR / 2)
    anchors = np.concatenate([points - half, points + half], axis=-1)[:, None, :]  # (N, 1, 4)

    def rule(boxes: Tensor) -> tuple[Tensor, Tensor]:
        boxes_xyxy = sides(boxes)[:, None]  # (B, 1, K, 4)
        overlap = iou(anchors, boxes_xyxy)  # (B, N, K)
        centres = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2
        squared = ops.sum(ops.square(points[:, None, :] - centres), axis=-1)  # (B, N, K)
        near = []
        for level in locations.levels:
            here = squared[:, level]
            most = min(_ATSS_CANDIDATES, level.stop - level.start)
            nearest, _ = ops.top_k(-ops.transpose(here, (0, 2, 1)), most)  # (B, K, 9)
            # all that are as near as the ninth: a tie has no order that a mirrored image would share
            near.append(here <= -nearest[..., -1][:, None, :] * (1.0 + _ROUNDING))
        candidate = ops.cast(ops.concatenate(near, axis=1), "float32")
        number = ops.sum(candidate, axis=1, keepdims=True)
        mean = ops.sum(overlap * candidate, axis=1, keepdims=True) / number
        variance = ops.sum(ops.square(overlap - mean) * candidate, axis=1, keepdims=True) / ops.maximum(number - 1, 1)
        good = ops.logical_and(candidate > 0, overlap >= mean + ops.sqrt(variance) - _ROUNDING)
        return ops.logical_and(good, inside(boxes, locations)), 1.0 - overlap

    return rule


def by_alignment(outputs: dict[str, Tensor], locations: Locations) -> Rule:
    """The rule `task_aligned`: a box costs what the location's predicted box does not overlap of it."""
    scores = ops.stop_gradient(ops.sigmoid(outputs["class_logits"]))
    predicted_xyxy = ltrb_to_xyxy(locations.points, outputs["distances"] * locations.strides[:, None])
    predicted_xyxy = ops.stop_gradient(predicted_xyxy)[:, :, None]  # (B, N, 1, 4)

    def rule(boxes: Tensor) -> tuple[Tensor, Tensor]:
        overlap = iou(predicted_xyxy, sides(boxes)[:, None])  # (B, N, K)
        wanted = ops.one_hot(channels(boxes), scores.shape[-1], dtype="float32")  # (B, K, C)
        score = ops.einsum("bnc,bkc->bnk", scores, wanted)
        alignment = ops.where(inside(boxes, locations), score * ops.power(overlap, _TAL_IOU_EXPONENT), 0.0)
        best, _ = ops.top_k(ops.transpose(alignment, (0, 2, 1)), min(_TAL_CANDIDATES, len(locations)))  # (B, K, 13)
        chosen = ops.logical_and(alignment >= best[..., -1][:, None, :] * (1.0 - _ROUNDING), alignment > 0)
        return chosen, 1.0 - overlap

    return rule
