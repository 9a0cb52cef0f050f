"""Non-maximum suppression within each class."""

from typing import NamedTuple

import numpy as np

from fcoslite.geometry.overlaps import pairwise_iou

_BLOCK = 256  # candidates compared at a time: most images need no second


class Suppressed(NamedTuple):
    """What suppression has left.

    Attributes:
        kept: [K] rows of the boxes that stay, best first; of equal scores the first row.
        by: [N] the row of the box that has suppressed a row, the best of those; its own for one that stays; -1 for one
            that was not looked at, because there were enough.
    """

    kept: np.ndarray
    by: np.ndarray


def non_max_suppression(
    boxes_xyxy: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float, most: int
) -> Suppressed:
    """Greedy NMS within each class: the best box stays, boxes that overlap it by more than `iou` go.

    Args:
        boxes_xyxy: [N, 4].
        scores: [N].
        classes: [N].
        iou: In [0, 1].
        most: Boxes kept at most.
    """

    def beats(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        overlaps = pairwise_iou(boxes_xyxy[a], boxes_xyxy[b], np.zeros(len(b), bool))
        return (overlaps > iou) & (classes[a][:, None] == classes[b])

    order = np.argsort(-scores, kind="stable")
    by = np.full(len(order), -1)
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        if len(kept):
            beaten_by = beats(kept, block)
            beaten = beaten_by.any(axis=0)
            by[block[beaten]] = kept[beaten_by[:, beaten].argmax(axis=0)]
            block = block[~beaten]
        alive = np.ones(len(block), bool)
        for row, beaten in enumerate(beats(block, block)):
            if alive[row]:
                beaten &= alive
                beaten[: row + 1] = False
                alive &= ~beaten
                by[block[beaten]] = block[row]
        kept = np.concatenate([kept, block[alive]])
        if len(kept) >= most:
            break
    kept = kept[:most]
    by[kept] = kept
    return Suppressed(kept, by)
