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

from dataclasses import dataclass

from keras import ops

from fcoslite.fcos.locations import grid_points
from fcoslite.fcos.overlap_rules import cheapest_box
from fcoslite.fcos.size_rules import inside_any, smallest_box
from fcoslite.geometry.boxes import EPSILON, Tensor
from fcoslite.models.presets import Architecture


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
    candidates = ops.logical_and(real, ops.logical_not(crowd))
    if architecture.assignment in ("area", "ranges"):
        matched, positive = smallest_box(boxes, candidates, architecture, image_size)  # (B, N, 5), (B, N)
    else:
        matched, positive = cheapest_box(boxes, candidates, architecture, image_size, outputs)
    in_crowd = inside_any(boxes[..., 1:], ops.logical_and(real, crowd), image_size, architecture.strides)
    # one unstack is faster than slices of so narrow an array
    class_id, x_min, y_min, x_max, y_max = ops.unstack(matched, num=5, axis=-1)  # (B, N) each
    channel = ops.cast(class_id, "int32") - 1
    weight = ops.cast(positive, "float32")
    (x, y), scale = points.T, weight / strides
    distances = ops.stack([(x - x_min) * scale, (y - y_min) * scale, (x_max - x) * scale, (y_max - y) * scale], axis=-1)
    return Targets(
        classes=ops.stop_gradient(ops.one_hot(channel, classes, dtype="float32") * weight[..., None]),
        distances=ops.stop_gradient(distances),
        centerness=ops.stop_gradient(centerness(distances) * weight[..., None]),
        positive=ops.stop_gradient(weight),
        class_weight=ops.stop_gradient(1.0 - ops.cast(ops.logical_and(in_crowd, ops.logical_not(positive)), "float32")),
    )


def centerness(distances_ltrb: Tensor) -> Tensor:
    """[..., 1] from distances [..., 4]: 1 in the middle of a box, 0 at its sides (FCOS, equation 3)."""
    left, top, right, bottom = ops.unstack(distances_ltrb, num=4, axis=-1)
    horizontal = ops.minimum(left, right) / (ops.maximum(left, right) + EPSILON)
    vertical = ops.minimum(top, bottom) / (ops.maximum(top, bottom) + EPSILON)
    return ops.sqrt(ops.maximum(horizontal * vertical, 0.0))[..., None]
