"""Focal, box and centerness loss (FCOS, arXiv 1904.01355, equation 2), all in float32."""

from dataclasses import dataclass

import numpy as np
from keras import ops

from fcoslite.assignment import Targets
from fcoslite.boxes import EPSILON, Tensor, giou, iou, ltrb_to_xyxy
from fcoslite.config import LossSettings


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars: `total` = classes + boxes + centerness_weight · centerness."""

    total: Tensor
    classes: Tensor
    boxes: Tensor
    centerness: Tensor


def compute_losses(
    outputs: dict[str, Tensor],
    targets: Targets,
    points: np.ndarray,
    strides: np.ndarray,
    settings: LossSettings,
) -> Losses:
    """The losses of a batch. A batch without boxes gives finite losses and gradients.

    Args:
        outputs: `class_logits` [B, N, C], `distances` [B, N, 4] in strides, `centerness_logits` [B, N, 1].
        targets: Of the same locations.
        points: [N, 2], pixels, of `boxes.grid_points`.
        strides: [N], pixels.
        settings: Focal parameters, box loss and centerness weight.
    """
    positives = ops.maximum(ops.sum(targets.positive), 1.0)

    focal = focal_loss(
        outputs["class_logits"], targets.classes, settings.focal_alpha, settings.focal_gamma
    )  # (B, N, C)
    class_loss = ops.sum(focal * targets.class_weight[..., None]) / positives

    step = strides[:, None]
    predicted = ltrb_to_xyxy(points, outputs["distances"] * step)
    wanted = ltrb_to_xyxy(points, targets.distances * step)
    box_loss = ops.sum(box_loss_each(predicted, wanted, settings.box) * targets.positive) / positives

    bce = binary_cross_entropy(outputs["centerness_logits"], targets.centerness)[..., 0]
    normalizer = ops.maximum(ops.sum(targets.centerness) + EPSILON, 1.0)
    centerness_loss = ops.sum(bce * targets.positive) / normalizer

    total = class_loss + box_loss + settings.centerness_weight * centerness_loss
    return Losses(total, class_loss, box_loss, centerness_loss)


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Elementwise, from logits, without overflow: max(x, 0) - x · z + log(1 + exp(-|x|))."""
    return ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Elementwise focal loss of 0/1 targets (arXiv 1708.02002, equation 5)."""
    probability = ops.sigmoid(logits)
    wrong = targets * (1.0 - probability) + (1.0 - targets) * probability  # 1 - p_t
    balance = targets * alpha + (1.0 - targets) * (1.0 - alpha)
    return balance * ops.power(wrong, gamma) * binary_cross_entropy(logits, targets)


def box_loss_each(predicted_xyxy: Tensor, target_xyxy: Tensor, kind: str) -> Tensor:
    """[...] from boxes [..., 4]: 1 - GIoU (arXiv 1902.09630), or the journal's -log IoU (arXiv 1608.01471)."""
    if kind == "giou":
        return 1.0 - ops.clip(giou(predicted_xyxy, target_xyxy), -1.0, 1.0)
    return -ops.log(ops.clip(iou(predicted_xyxy, target_xyxy), EPSILON, 1.0))
