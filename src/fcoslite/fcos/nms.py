"""Non-maximum suppression within each class."""

from typing import NamedTuple

import numpy as np

_BLOCK = 48  # candidates compared with each other; the next ones are those that these have not suppressed


class Suppressed(NamedTuple):
    """What suppression has left.

    Attributes:
        kept: [K] rows of the boxes that stay, best first; of equal scores the first row.
        by: [N] the row of the box that has suppressed a row, the best of those that stay; its own for one that stays;
            -1 for one that no box that stays has suppressed, because there were enough before.
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
    sides = np.ascontiguousarray(boxes_xyxy.T)
    areas = (sides[2] - sides[0]) * (sides[3] - sides[1])

    # `pairwise_iou` takes nearly twice as long for a pair, and this is in the path of every frame
    def beats(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = sides[:, a, None], sides[:, None, b]
        shared = np.maximum(np.minimum(ax1, bx1) - np.maximum(ax0, bx0), 0)
        shared *= np.maximum(np.minimum(ay1, by1) - np.maximum(ay0, by0), 0)
        more: np.ndarray = shared > np.add.outer(areas[a], areas[b]) * (iou / (1 + iou))  # shared / union > iou
        return more & (classes[a, None] == classes[b])

    rest = np.argsort(-scores, kind="stable")
    by = np.full(len(rest), -1)
    kept = rest[:0]
    while len(rest) and len(kept) < most:
        block = rest[:_BLOCK]
        new = block[_greedy(beats(block, block))][: most - len(kept)]
        kept = np.concatenate([kept, new])
        beaten_by = beats(new, rest)
        beaten = beaten_by.any(axis=0)
        by[rest[beaten]] = new[beaten_by[:, beaten].argmax(axis=0)]
        by[new] = new  # one without an area does not even overlap itself
        rest = rest[by[rest] < 0]
    return Suppressed(kept, by)


def _greedy(beats: np.ndarray) -> list[int]:
    """The rows that stay, of [B, B] in the order of scores: in integers of B bits, which is faster than in arrays."""
    gone = 0
    stay = []
    for row, packed in enumerate(np.packbits(beats, axis=1, bitorder="little")):
        if not gone >> row & 1:
            stay.append(row)
            gone |= int.from_bytes(packed.tobytes(), "little")
    return stay
