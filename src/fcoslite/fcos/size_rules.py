"""Rules by the size of a box, which costs its area: `area` and `ranges` of `fcoslite.fcos.targets`."""

import numpy as np
from keras import ops

from fcoslite.fcos.ground_truth import sides
from fcoslite.fcos.locations import Locations
from fcoslite.fcos.matching import Rule, axes, inside
from fcoslite.geometry.boxes import Tensor, area
from fcoslite.models.presets import Architecture


def by_area(architecture: Architecture, locations: Locations) -> Rule:
    """The rule `area`."""
    limits = np.asarray(architecture.level_limits, np.float32)
    step, level = locations.strides[:, None], locations.level[:, None]

    def rule(boxes: Tensor) -> tuple[Tensor, Tensor]:
        areas = area(sides(boxes))  # (B, K)
        # the level of a box is how many limits its area exceeds
        box_level = ops.sum(ops.cast(areas[..., None] > limits, "int32"), axis=-1)
        eligible = ops.logical_and(inside(boxes, locations), box_level[:, None] == level)
        for at, low, high in axes(boxes, locations):
            cell, centre = (at - step / 2) / step, (low + high) / 2
            near = ops.abs(cell - centre / step) <= ops.maximum((high - low) / step, 1.0)
            eligible = ops.logical_and(eligible, near)
        return eligible, areas[:, None]

    return rule


def by_ranges(architecture: Architecture, locations: Locations) -> Rule:
    """The rule `ranges`."""
    limits = np.asarray((0.0, *architecture.level_limits, np.inf), np.float32)
    shortest, longest = (limits[locations.level + end][:, None] for end in (0, 1))  # (N, 1)
    radius = architecture.centre_radius * locations.strides[:, None]

    def rule(boxes: Tensor) -> tuple[Tensor, Tensor]:
        eligible = inside(boxes, locations)
        reach: Tensor = 0.0  # the largest distance to a side
        for at, low, high in axes(boxes, locations):
            reach = ops.maximum(reach, ops.maximum(at - low, high - at))
            eligible = ops.logical_and(eligible, ops.abs(at - (low + high) / 2) < radius)
        in_range = ops.logical_and(reach > shortest, reach <= longest)
        return ops.logical_and(eligible, in_range), area(sides(boxes))[:, None]

    return rule
