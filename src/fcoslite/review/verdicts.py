"""Which boxes are answered: by an answer about the box itself, or by a place where nobody ever is."""

from collections.abc import Sequence

import numpy as np

from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.review.answers import BoxAnswer, PlaceAnswer

SAME_BOX = 0.5  # IoU from which on a box of other labels is the one that was answered
SAME_PLACE = 0.7  # IoU from which on a box is at a place


def match(
    boxes_xywh: np.ndarray, categories: Sequence[str], answers: Sequence[BoxAnswer]
) -> tuple[list[BoxAnswer | None], list[BoxAnswer]]:
    """The answer to each box of an image, and the answers that no box is left for.

    An answer is for the very box that it names. Where that is not there, because the image was labelled anew or a
    reviewer drew it, it is for the one box of its category that overlaps it most, by IoU 0.5 or more. A box has one
    answer. Of several answers about the very same box the last one counts.

    Args:
        boxes_xywh: [N, 4] pixels.
        categories: N names.
        answers: About the image, in the order in which they were given.
    """
    told = {(one.category, one.bbox): one for one in answers}
    named = [(category, tuple(bbox)) for category, bbox in zip(categories, boxes_xywh.tolist(), strict=True)]
    found = [told.get(one) for one in named]  # a box that is there twice is answered twice
    rest = [answer for one, answer in told.items() if one not in set(named)]
    if not rest or all(found):
        return found, rest
    overlaps = pairwise_iou(_xyxy(boxes_xywh), _xyxy([one.bbox for one in rest]), np.zeros(len(rest), bool))
    free = np.array([one is None for one in found])
    same = np.array([[name == one.category for one in rest] for name in categories])
    overlaps = np.where(free[:, None] & same, np.nan_to_num(overlaps), 0)  # nan: two boxes without an area
    taken = set()
    while overlaps.size and (best := overlaps.max()) >= SAME_BOX:
        box, place = np.argwhere(overlaps == best)[0].tolist()
        found[box] = rest[place]
        taken.add(place)
        overlaps[box], overlaps[:, place] = 0, 0
    return found, [one for place, one in enumerate(rest) if place not in taken]


def at_place(shares: np.ndarray, place: PlaceAnswer) -> np.ndarray:
    """[N] bool, which boxes are at a place: they overlap it by IoU 0.7 or more.

    Args:
        shares: [N, 4] x, y, width, height of boxes of its camera, in shares of their image's sides.
        place: The place.
    """
    overlaps = pairwise_iou(_xyxy(shares), _xyxy([place.place]), np.zeros(1, bool))
    return np.asarray(overlaps[:, 0] >= SAME_PLACE) if len(shares) else np.zeros(0, bool)


def _xyxy(boxes_xywh: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
    boxes = np.asarray(boxes_xywh, np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
