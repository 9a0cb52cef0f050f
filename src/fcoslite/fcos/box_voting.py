"""Boxes that stay, moved to where those that they have suppressed say that the object is."""

import numpy as np

from fcoslite.fcos.nms import Suppressed
from fcoslite.geometry.overlaps import paired_iou

AGREE_IOU = 0.7  # of boxes that are taken to show the same object
SPREAD = 0.025  # of 1 - IoU: how soon a voice counts less, the sigma of arXiv 1809.08545


def vote(boxes_xyxy: np.ndarray, scores: np.ndarray, suppressed: Suppressed) -> np.ndarray:
    """Box voting (arXiv 1505.01749, section 4), by score and exp(-(1 - IoU)² / 0.025) (arXiv 1809.08545).

    Of many boxes on an object the one of the best score stays, and the score says little about its sides: a mean is
    nearer to them.

    Args:
        boxes_xyxy: [N, 4], with those that were suppressed.
        scores: [N].
        suppressed: By which; K boxes stay.

    Returns:
        [K, 4] float32, in the order of `kept`.
    """
    kept, by = suppressed
    place = np.zeros(len(by), int)
    place[kept] = np.arange(len(kept))
    voters = np.flatnonzero(by >= 0)
    overlap = paired_iou(boxes_xyxy[voters], boxes_xyxy[by[voters]])
    agree = (overlap > AGREE_IOU) | (voters == by[voters])  # a box without an area does not even overlap itself
    voters, overlap = voters[agree], overlap[agree]
    weights = scores[voters] * np.exp(-((1.0 - overlap) ** 2) / SPREAD)
    to = place[by[voters]]
    moves = (boxes_xyxy[voters] - boxes_xyxy[by[voters]]) * weights[:, None]
    total = np.bincount(to, weights, len(kept))
    mean = np.stack([np.bincount(to, moves[:, side], len(kept)) / total for side in range(4)], axis=1)
    return (boxes_xyxy[kept] + mean).astype(np.float32)
