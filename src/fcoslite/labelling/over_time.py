"""What frames of a fixed camera say of each other: what stands at one place for hours is asked about."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from fcoslite.geometry.overlaps import pairwise_iou

_SAME_PLACE = 0.6  # IoU
_LONG = timedelta(hours=1)
_OFTEN = 0.5  # of the quiet frames meanwhile: a coat is seen by day and by night, but not always
_LEAST_FRAMES = 3
_LEAST_SCORE = 0.2  # lower ones are mostly nobody, and hardly teach: nobody need be asked


@dataclass(frozen=True)
class Moment:
    """A frame of a camera with its boxes.

    Attributes:
        captured: When it was taken.
        quiet: Nothing had moved for a while.
        boxes_xyxy: [N, 4], pixels.
        scores: [N].
        class_ids: [N].
    """

    captured: datetime
    quiet: bool
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray


@dataclass
class _Place:
    """Where boxes of a class were in quiet frames.

    Attributes:
        box_xyxy: [4], of the first.
        class_id: Of all.
        seen: Numbers of the quiet frames, ascending.
    """

    box_xyxy: np.ndarray
    class_id: int
    seen: list[int] = field(default_factory=list)


def standing(moments: Sequence[Moment]) -> list[np.ndarray]:
    """Which boxes are at a place where one stood for an hour or longer while nothing moved: a coat, a statue.

    It was there in three quiet frames at least, and in half of those from the first to the last of them, with a score
    that is worth a question. Whoever is at
    such a place in a frame in which something moves cannot be told from it by the place alone, and is meant, too.

    Args:
        moments: Of one camera, in any order.

    Returns:
        [N] bool for each moment.
    """
    quiet = sorted((moment for moment in moments if moment.quiet), key=lambda moment: moment.captured)
    places: list[_Place] = []
    for number, moment in enumerate(quiet):
        worth = moment.scores >= _LEAST_SCORE
        for box_xyxy, class_id in zip(moment.boxes_xyxy[worth], moment.class_ids[worth].tolist(), strict=True):
            alike = [place for place in places if place.class_id == class_id]
            overlaps = _overlaps(box_xyxy[None], alike)[0]
            if overlaps.max(initial=0) > _SAME_PLACE:
                place = alike[int(overlaps.argmax())]
            else:
                place = _Place(box_xyxy, class_id)
                places.append(place)
            if place.seen[-1:] != [number]:
                place.seen.append(number)
    lasting = [place for place in places if _lasts(place.seen, quiet)]
    found = []
    for moment in moments:
        same_class = moment.class_ids[:, None] == np.array([place.class_id for place in lasting], np.int64)
        found.append(((_overlaps(moment.boxes_xyxy, lasting) > _SAME_PLACE) & same_class).any(axis=1))
    return found


def _lasts(seen: Sequence[int], quiet: Sequence[Moment]) -> bool:
    first, last = seen[0], seen[-1]
    long = quiet[last].captured - quiet[first].captured >= _LONG
    return long and len(seen) >= max(_LEAST_FRAMES, _OFTEN * (last - first + 1))


def _overlaps(boxes_xyxy: np.ndarray, places: Sequence[_Place]) -> np.ndarray:
    """IoU, [N, 4] to [N, P]."""
    others = np.array([place.box_xyxy for place in places]).reshape(-1, 4)
    return pairwise_iou(boxes_xyxy.reshape(-1, 4), others, np.zeros(len(others), bool))
