"""Non-maximum suppression in numpy, for boxes that no graph of ours has decoded."""

import numpy as np

from fcoslite.geometry.overlaps import pairwise_iou


def suppress(boxes_xyxy: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float, most: int) -> np.ndarray:
    """Greedy NMS within each class: the best box stays, boxes that overlap it by more than `iou` go.

    Args:
        boxes_xyxy: [N, 4].
        scores: [N].
        classes: [N].
        iou: In (0, 1].
        most: Boxes kept at most.

    Returns:
        Rows of the kept boxes, best first.
    """
    left = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(left) and len(kept) < most:
        best, left = left[0], left[1:]
        kept.append(int(best))
        overlaps = pairwise_iou(boxes_xyxy[[best]], boxes_xyxy[left], np.zeros(len(left), bool))
        left = left[~((overlaps[0] > iou) & (classes[left] == classes[best]))] if len(left) else left
    return np.array(kept, np.int64)
