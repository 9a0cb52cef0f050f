"""The box a location answers for: the cheapest of those that a rule lets it answer for.

Boxes are compared with all locations a block at a time, so memory does not grow with the boxes of an image.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from fcoslite.fcos.ground_truth import candidates, sides
from fcoslite.fcos.locations import Locations
from fcoslite.geometry.boxes import Tensor, take_rows

_BLOCK = 16

# Boxes [B, K, 6] to whether a location may answer for a box, [B, N, K] bool, and what that costs it: [B, N, K], or
# [B, 1, K] where it costs every location the same
Rule = Callable[[Tensor], tuple[Tensor, Tensor]]


def match(boxes: Tensor, rule: Rule, locations: Locations) -> tuple[Tensor, Tensor]:
    """The box of every location.

    Args:
        boxes: [B, M, 6], see `ground_truth`. M is at least 1, and static.
        rule: `size_rules` and `overlap_rules` have them.
        locations: Of the image.

    Returns:
        Boxes [B, N, 6], any one where there is none; and whether there is one, [B, N] bool. Of equal costs it is the
        earlier box.
    """

    def compare(block: Tensor, wanted: Tensor, first: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        best_cost, best_index = state
        eligible, costs = rule(block)
        costs = ops.where(ops.logical_and(eligible, wanted[:, None, :]), costs, np.inf)  # (B, N, K)
        smallest = ops.min(costs, axis=-1)
        better = smallest < best_cost  # strict: the earlier box keeps a tie
        found = ops.cast(ops.argmin(costs, axis=-1), "int32") + first
        return ops.where(better, smallest, best_cost), ops.where(better, found, best_index)

    shape = (ops.shape(boxes)[0], len(locations))
    start = ops.full(shape, np.inf, dtype="float32"), ops.zeros(shape, dtype="int32")
    best_cost, best_index = _over_blocks(boxes, candidates(boxes), compare, start)
    return take_rows(boxes, best_index), best_cost < np.inf


def inside_any(boxes: Tensor, wanted: Tensor, locations: Locations) -> Tensor:
    """Whether a location is strictly inside any of the boxes [B, M, 6] that are wanted [B, M]: [B, N] bool."""

    def look(block: Tensor, wanted: Tensor, first: Tensor, found: Tensor) -> Tensor:
        within = ops.logical_and(inside(block, locations), wanted[:, None, :])
        return ops.logical_or(found, ops.any(within, axis=-1))

    start = ops.zeros((ops.shape(boxes)[0], len(locations)), dtype="bool")
    return _over_blocks(boxes, wanted, look, start)


def inside(boxes: Tensor, locations: Locations) -> Tensor:
    """Whether a location is strictly inside a box: [B, N, K] bool from boxes [B, K, 6]."""
    (left, right), (top, bottom) = ((at > low, at < high) for at, low, high in axes(boxes, locations))
    return ops.logical_and(ops.logical_and(left, right), ops.logical_and(top, bottom))


def axes(boxes: Tensor, locations: Locations) -> list[tuple[np.ndarray, Tensor, Tensor]]:
    """For x and y: where the locations lie, [N, 1], and the lower and upper sides of boxes [B, K, 6], [B, 1, K] each.

    To go through large arrays axis by axis is faster than to have both in one, the last of its dimensions 2 or 4.
    """
    low_x, low_y, high_x, high_y = ops.unstack(sides(boxes)[:, None], num=4, axis=-1)
    return [(locations.points[:, :1], low_x, high_x), (locations.points[:, 1:], low_y, high_y)]


def _over_blocks(boxes: Tensor, wanted: Tensor, step: Callable[..., Any], start: Any) -> Any:
    """Fold `step`(block [B, K, 6], which are wanted [B, K], index of its first, state) over the boxes [B, M, 6].

    It ends with the block of the last wanted box: images have few boxes and room for many.
    """
    blocks, flags = _blocks(boxes), _blocks(wanted[..., None])[..., 0]
    numbers = np.arange(1, flags.shape[0] + 1, dtype="int32")
    in_use = ops.max(ops.where(ops.any(flags, axis=(1, 2)), numbers, 0))

    def one(index: Tensor, state: Any) -> Any:
        first = ops.cast(index, "int32") * _BLOCK
        return step(ops.take(blocks, index, axis=0), ops.take(flags, index, axis=0), first, state)

    return ops.fori_loop(0, in_use, one, start)


def _blocks(values: Tensor) -> Tensor:
    """[B, M, D] -> [M / K, B, K, D] with zeros (padding, False) at the end."""
    batch, boxes, depth = ops.shape(values)
    count = -(-boxes // _BLOCK)
    values = ops.pad(values, [[0, 0], [0, count * _BLOCK - boxes], [0, 0]])
    return ops.transpose(ops.reshape(values, (batch, count, _BLOCK, depth)), (1, 0, 2, 3))
