"""Class, box and quality loss (FCOS, arXiv 1904.01355, equation 2), all in float32.

A box that is only probably right is learned as such: its probability is the class target of its locations, and weighs
their box and quality loss.
"""

from dataclasses import dataclass, replace

import numpy as np
from keras import ops

from fcoslite.config.settings import LossSettings
from fcoslite.fcos.locations import Locations, locations_of
from fcoslite.fcos.targets import Targets, assign
from fcoslite.fcos.teaching import Taught, believed, teaching_loss, with_doubted_background
from fcoslite.geometry.boxes import EPSILON, Tensor, giou, iou, ltrb_to_xyxy
from fcoslite.models.detector import Detector
from fcoslite.models.head import DISTANCE_LOGITS

_DISTRIBUTION_WEIGHT = 0.25  # arXiv 2006.04388, section 4


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars: `total` = classes + box_weight · boxes + quality_weight · quality + teacher_weight · teacher."""

    total: Tensor
    classes: Tensor
    boxes: Tensor
    quality: Tensor
    teacher: Tensor


def detection_losses(
    outputs: dict[str, Tensor], boxes: Tensor, detector: Detector, settings: LossSettings, taught: Taught | None = None
) -> Losses:
    """The losses of a batch against its boxes, and against what a teacher says of it.

    Args:
        outputs: As of `compute_losses`.
        boxes: [B, M, 6], see `ground_truth`, at the detector's image size.
        detector: Whose outputs they are.
        settings: Kinds, focal parameters and weights.
        taught: By the teacher; None: there is none.
    """
    architecture = detector.architecture
    locations = locations_of(detector.image_size, architecture.strides)
    targets = assign(boxes, outputs, architecture, locations)
    if taught is None:
        return compute_losses(outputs, targets, locations, settings, architecture.quality)
    taught = believed(taught, boxes, targets, locations)
    doubted = with_doubted_background(targets, taught)
    losses = compute_losses(outputs, doubted, locations, settings, architecture.quality)
    teacher = teaching_loss(outputs, taught, targets.class_weight, locations)
    return replace(losses, total=losses.total + settings.teacher_weight * teacher, teacher=teacher)


def compute_losses(
    outputs: dict[str, Tensor], targets: Targets, locations: Locations, settings: LossSettings, quality: str
) -> Losses:
    """The losses of a batch. A batch without boxes gives finite losses and gradients.

    Args:
        outputs: `class_logits` [B, N, C], `distances` [B, N, 4] in strides, `quality_logits` [B, N, 1] unless
            `quality` is `none`; `distance_logits` [B, N, 4 · bins] where distances are distributions.
        targets: Of the same locations.
        locations: N of them.
        settings: Kinds, focal parameters and weights.
        quality: What the quality logits learn: `centerness`, `iou` or `none`.
    """
    positives = ops.maximum(ops.sum(targets.weight), 1.0)
    points, step = locations.points, locations.strides[:, None]
    predicted = ltrb_to_xyxy(points, outputs["distances"] * step)
    wanted = ltrb_to_xyxy(points, targets.distances * step)
    overlap = ops.stop_gradient(iou(predicted, wanted)) * targets.positive  # (B, N)

    logits = outputs["class_logits"]
    if settings.classes == "focal":
        each = focal_loss(logits, targets.classes, settings.focal_alpha, settings.focal_gamma)  # (B, N, C)
    else:
        each = quality_focal_loss(logits, targets.classes * overlap[..., None], settings.focal_gamma)
    class_loss = ops.sum(each * targets.class_weight[..., None]) / positives

    box_losses = box_loss_each(predicted, wanted, settings.box)
    if DISTANCE_LOGITS in outputs:
        distribution = distribution_focal_loss(outputs[DISTANCE_LOGITS], targets.distances)
        box_losses = box_losses + _DISTRIBUTION_WEIGHT * distribution
    box_loss = ops.sum(box_losses * targets.weight) / positives

    quality_loss = ops.zeros(())
    if quality != "none":
        aim = targets.centerness if quality == "centerness" else overlap[..., None]
        bce = binary_cross_entropy(outputs["quality_logits"], aim)[..., 0]
        aims = ops.sum(aim[..., 0] * targets.weight)
        normalizer = ops.maximum(aims + EPSILON, 1.0) if quality == "centerness" else positives
        quality_loss = ops.sum(bce * targets.weight) / normalizer

    total = class_loss + settings.box_weight * box_loss + settings.quality_weight * quality_loss
    return Losses(total, class_loss, box_loss, quality_loss, ops.zeros(()))


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Elementwise, from logits, without overflow: max(x, 0) - x · z + log(1 + exp(-|x|))."""
    return ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Elementwise focal loss (arXiv 1708.02002, equation 5) of targets anywhere in [0, 1].

    |target - p| is the 1 - p_t of a target of 0 or 1, and goes on to those in between as arXiv 2006.04388 does.
    """
    wrong = ops.abs(targets - ops.sigmoid(logits))
    balance = targets * alpha + (1.0 - targets) * (1.0 - alpha)
    return balance * ops.power(wrong, gamma) * binary_cross_entropy(logits, targets)


def quality_focal_loss(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Elementwise focal loss of targets anywhere in [0, 1] (arXiv 2006.04388, equation 2)."""
    distance = ops.abs(targets - ops.sigmoid(logits))
    return ops.power(distance, gamma) * binary_cross_entropy(logits, targets)


def box_loss_each(predicted_xyxy: Tensor, target_xyxy: Tensor, kind: str) -> Tensor:
    """[...] from boxes [..., 4]: 1 - GIoU (arXiv 1902.09630), or -log IoU (arXiv 1608.01471)."""
    if kind == "giou":
        return 1.0 - ops.clip(giou(predicted_xyxy, target_xyxy), -1.0, 1.0)
    return -ops.log(ops.clip(iou(predicted_xyxy, target_xyxy), EPSILON, 1.0))


def distribution_focal_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """[...] from logits [..., 4 · bins] and distances [..., 4] in strides (arXiv 2006.04388), the mean of four sides.

    The two bins around a distance share it, the nearer one more; one beyond the last bin is at the last.
    """
    bins = logits.shape[-1] // 4
    strides = np.arange(bins, dtype=np.float32)
    losses = []
    for side, distance in zip(ops.split(logits, 4, axis=-1), ops.split(distances, 4, axis=-1), strict=True):
        near = ops.maximum(1.0 - ops.abs(ops.clip(distance, 0.0, bins - 1.0) - strides), 0.0)
        losses.append(-ops.sum(near * ops.log_softmax(side, axis=-1), axis=-1))
    return sum(losses) / 4.0
