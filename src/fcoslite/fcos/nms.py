"""Non-maximum suppression within each class."""

import numpy as np

from fcoslite.geometry.overlaps import pairwise_iou

_BLOCK = 256  # candidates compared at a time: most images need no second


def non_max_suppression(
    boxes_xyxy: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float, most: int
) -> np.ndarray:
    """Greedy NMS within each class: the best box stays, boxes that overlap it by more than `iou` go.

    Args:
        boxes_xyxy: [N, 4].
        scores: [N].
        classes: [N].
        iou: In [0, 1].
        most: Boxes kept at most.

    Returns:
        Rows of the kept boxes, best first; of equal scores the first row.
    """

    def beats(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        overlaps = pairwise_iou(boxes_xyxy[a], boxes_xyxy[b], np.zeros(len(b), bool))
        return (overlaps > iou) & (classes[a][:, None] == classes[b])

    order = np.argsort(-scores, kind="stable")
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        block = block[~beats(kept, block).any(axis=0)]
        alive = np.ones(len(block), bool)
        for row, beaten in enumerate(beats(block, block)):
            if alive[row]:
                alive[row + 1 :] &= ~beaten[row + 1 :]
        kept = np.concatenate([kept, block[alive]])
        if len(kept) >= most:
            break
    return kept[:most]
