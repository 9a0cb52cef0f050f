"""Ground truth to per-location targets, for a whole batch at once.

Four rules decide which box a location answers for (`Architecture.assignment`):

`area` (the original detector's, docs/original.md): a box belongs to one level by its area; its locations are those
strictly inside it with |grid - centre / stride| <= max(1, side / stride) on each axis.

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

from dataclasses import dataclass

from keras import ops

from fcoslite.fcos.ground_truth import channels, ignored, probabilities, sides
from fcoslite.fcos.locations import Locations
from fcoslite.fcos.matching import Rule, inside_any, match
from fcoslite.fcos.overlap_rules import by_alignment, by_anchors
from fcoslite.fcos.size_rules import by_area, by_ranges
from fcoslite.geometry.boxes import EPSILON, Tensor
from fcoslite.models.presets import Architecture


@dataclass(frozen=True, slots=True)
class Targets:
    """What every location should say.

    Attributes:
        classes: [B, N, C] how probably the box is right, in the channel of its class; zero elsewhere.
        distances: [B, N, 4] left, top, right, bottom in strides; zero on background.
        centerness: [B, N, 1] in [0, 1]; zero on background.
        positive: [B, N] float32, 1 where a box is assigned.
        weight: [B, N] float32, how probably that box is right; zero on background.
        class_weight: [B, N] float32, 0 on background inside a box to be ignored, such as a crowd.
    """

    classes: Tensor
    distances: Tensor
    centerness: Tensor
    positive: Tensor
    weight: Tensor
    class_weight: Tensor


def assign(boxes: Tensor, outputs: dict[str, Tensor], architecture: Architecture, locations: Locations) -> Targets:
    """Assign boxes to locations.

    Args:
        boxes: [B, M, 6], see `ground_truth`.
        outputs: What the network says, see `Detector.network`. It tells the number of classes, C; all else is read by
            `task_aligned` alone.
        architecture: Rule, limits and radius.
        locations: Of the image.

    Returns:
        Targets without gradients.
    """
    matched, positive = match(boxes, _rule(outputs, architecture, locations), locations)  # (B, N, 6), (B, N)
    background = ops.logical_not(positive)
    in_ignored = ops.logical_and(background, inside_any(boxes, ignored(boxes), locations))
    # one unstack is faster than slices of so narrow an array
    x_min, y_min, x_max, y_max = ops.unstack(sides(matched), num=4, axis=-1)  # (B, N) each
    found = ops.cast(positive, "float32")
    weight = found * probabilities(matched)
    (x, y), scale = locations.points.T, found / locations.strides
    distances = ops.stack([(x - x_min) * scale, (y - y_min) * scale, (x_max - x) * scale, (y_max - y) * scale], axis=-1)
    one_hot = ops.one_hot(channels(matched), outputs["class_logits"].shape[-1], dtype="float32")
    return Targets(
        classes=ops.stop_gradient(one_hot * weight[..., None]),
        distances=ops.stop_gradient(distances),
        centerness=ops.stop_gradient(centerness(distances) * found[..., None]),
        positive=ops.stop_gradient(found),
        weight=ops.stop_gradient(weight),
        class_weight=ops.stop_gradient(1.0 - ops.cast(in_ignored, "float32")),
    )


def _rule(outputs: dict[str, Tensor], architecture: Architecture, locations: Locations) -> Rule:
    if architecture.assignment == "area":
        return by_area(architecture, locations)
    if architecture.assignment == "ranges":
        return by_ranges(architecture, locations)
    if architecture.assignment == "atss":
        return by_anchors(locations)
    return by_alignment(outputs, locations)


def centerness(distances_ltrb: Tensor) -> Tensor:
    """[..., 1] from distances [..., 4]: 1 in the middle of a box, 0 at its sides (FCOS, equation 3)."""
    left, top, right, bottom = ops.unstack(distances_ltrb, num=4, axis=-1)
    horizontal = ops.minimum(left, right) / (ops.maximum(left, right) + EPSILON)
    vertical = ops.minimum(top, bottom) / (ops.maximum(top, bottom) + EPSILON)
    return ops.sqrt(ops.maximum(horizontal * vertical, 0.0))[..., None]
