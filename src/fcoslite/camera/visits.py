"""Visits found and missed, and false alarms: what somebody feels who is called for what a detector sees.

A visit is a track of a labelled person that lasts at least a second. The watcher is called for a track of boxes that
lasts as long. Such a call finds a visit as soon as a box of it is on the visitor (IoU 0.5). It is a false alarm if most
of its boxes are away from everything that is labelled (IoU below 0.1; of a crowd, half of the box): a second box on
somebody calls for somebody. So crowds and doubtful labels count neither way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np

from fcoslite.camera.tracks import Track, find_tracks
from fcoslite.data.dataset import LabelledImage
from fcoslite.detections.detections import Detections
from fcoslite.evaluation.detection_errors import MATCH_IOU, NEAR_IOU
from fcoslite.geometry.overlaps import pairwise_iou

LEAST_SECONDS = 1.0  # of a visit, and of a call
SURE = 0.4  # labels that score less make no visit: they are doubtful

_SLACK = 1e-6  # seconds; times are text of milliseconds
_DAY = 86_400.0  # seconds


@dataclass(frozen=True, eq=False)
class Stretch:
    """Frames of one camera that follow each other closely enough to track.

    Attributes:
        camera: Its name.
        images: The frames with their labels, by time.
        seconds: Of each, since the first.
        started: When the first was taken, in UTC.
    """

    camera: str
    images: tuple[LabelledImage, ...]
    seconds: tuple[float, ...]
    started: datetime

    @property
    def length(self) -> float:
        """Seconds from its first frame to its last."""
        return self.seconds[-1]

    @cached_property
    def visits(self) -> list[Track]:
        """Tracks of labelled persons that last long enough, by their beginning."""
        names = ("",) * max(int(image.class_ids.max(initial=0)) for image in self.images)
        labels = [
            Detections(image.boxes_xyxy, image.scores, image.class_ids, names).take(~image.iscrowd)
            for image in self.images
        ]
        return [track for track in find_tracks(self.seconds, labels, SURE) if _lasts(track)]

    @cached_property
    def _visitors(self) -> list[list[tuple[int, np.ndarray]]]:
        """Of each frame the visits on it: their numbers and boxes."""
        visitors: list[list[tuple[int, np.ndarray]]] = [[] for _ in self.images]
        for number, visit in enumerate(self.visits):
            for frame, box in zip(visit.frames.tolist(), visit.boxes_xyxy, strict=True):
                visitors[frame].append((number, box))
        return visitors

    def visits_under(self, frame: int, box_xyxy: np.ndarray, class_id: int) -> list[int]:
        """The numbers of the visits that a box [4] of a frame is on."""
        here = [(number, box) for number, box in self._visitors[frame] if self.visits[number].class_id == class_id]
        boxes = np.array([box for _, box in here], np.float32).reshape(-1, 4)
        overlaps = pairwise_iou(box_xyxy[None], boxes, np.zeros(len(boxes), bool))[0]
        return [number for (number, _), overlap in zip(here, overlaps, strict=True) if overlap >= MATCH_IOU]

    def nobody_is_under(self, frame: int, box_xyxy: np.ndarray, class_id: int) -> bool:
        """Whether a box [4] of a frame is away from everything that is labelled, surely or not."""
        image = self.images[frame]
        overlaps = pairwise_iou(box_xyxy[None], image.boxes_xyxy, image.iscrowd)[0]
        near = overlaps >= np.where(image.iscrowd, MATCH_IOU, NEAR_IOU)
        return not bool((near & (image.class_ids == class_id)).any())


@dataclass(frozen=True, eq=False)
class Judged:
    """A stretch at one threshold.

    Attributes:
        stretch: The frames.
        found: [V] of each visit the seconds from its beginning to the first box of a call that is on it; None: missed.
        calls: How often the watcher is called.
        false_alarms: The calls for nobody.
    """

    stretch: Stretch
    found: tuple[float | None, ...]
    calls: int
    false_alarms: tuple["FalseAlarm", ...]


@dataclass(frozen=True, eq=False)
class FalseAlarm:
    """A call for nobody.

    Attributes:
        call: The track.
        worst: The place in it of the box on nobody that scores most.
    """

    call: Track
    worst: int


def judge(stretch: Stretch, found: Sequence[Detections], score: float) -> Judged:
    """Compare what a detector finds in a stretch, from a threshold on, with who comes by.

    Args:
        stretch: The frames.
        found: What was found in each, from `Tracking(score).helping_score` on at least.
        score: The threshold, as of `detect --track --score`.
    """
    calls = [track for track in find_tracks(stretch.seconds, found, score) if _lasts(track)]
    first: list[float | None] = [None] * len(stretch.visits)
    false_alarms = []
    for call in calls:
        nobody = np.zeros(len(call.frames), bool)
        for place, (frame, box) in enumerate(zip(call.frames.tolist(), call.boxes_xyxy, strict=True)):
            nobody[place] = stretch.nobody_is_under(frame, box, call.class_id)
            for visit in stretch.visits_under(frame, box, call.class_id):
                waited, known = float(call.seconds[place]) - stretch.visits[visit].start, first[visit]
                first[visit] = waited if known is None else min(waited, known)
        if nobody.sum() > len(nobody) / 2:
            false_alarms.append(FalseAlarm(call, int(np.where(nobody, call.scores, -1).argmax())))
    return Judged(stretch, tuple(first), len(calls), tuple(false_alarms))


@dataclass(frozen=True)
class Row:
    """What a threshold means for the watcher.

    Attributes:
        score: The threshold.
        found: Visits found.
        missed: Visits missed.
        seconds_to_first_box: Median of the visits found; None of none.
        calls: How often the watcher is called.
        false_alarms: How many of these calls are for nobody.
        false_alarms_per_day: As many in the time watched as these would be in a day.
    """

    score: float
    found: int
    missed: int
    seconds_to_first_box: float | None
    calls: int
    false_alarms: int
    false_alarms_per_day: float


def count(judged: Sequence[Judged], score: float) -> Row:
    """Sum up stretches that were judged at one threshold; together they last for some time."""
    waits = [seconds for one in judged for seconds in one.found]
    known = [seconds for seconds in waits if seconds is not None]
    false_alarms = sum(len(one.false_alarms) for one in judged)
    return Row(
        score=score,
        found=len(known),
        missed=len(waits) - len(known),
        seconds_to_first_box=float(np.median(known)) if known else None,
        calls=sum(one.calls for one in judged),
        false_alarms=false_alarms,
        false_alarms_per_day=false_alarms * _DAY / sum(one.stretch.length for one in judged),
    )


def lowest_within(rows: Sequence[Row], alarms_per_day: float) -> Row | None:
    """The row of the lowest threshold from which on no threshold gives more false alarms a day; None if all do."""
    chosen = None
    for row in sorted(rows, key=lambda row: row.score, reverse=True):
        if row.false_alarms_per_day > alarms_per_day:
            break
        chosen = row
    return chosen


def best_within(rows: Sequence[Row], alarms_per_day: float, own_score: float) -> Row | None:
    """The threshold to use: as `lowest_within`, but the present one is lowered only if more visits are found so.

    A short recording has no false alarm at any threshold, and would speak for the lowest.

    Args:
        rows: By threshold; one is of the present one.
        alarms_per_day: The most false alarms that are wanted.
        own_score: The present threshold.

    Returns:
        Of the thresholds up to the present one, but not below that of `lowest_within`, the highest of those that find
        most visits; None if there is none.
    """
    lowest = lowest_within(rows, alarms_per_day)
    if lowest is None:
        return None
    allowed = [row for row in rows if lowest.score <= row.score <= max(lowest.score, own_score)]
    return max(allowed, key=lambda row: (row.found, row.score))


def needed_seconds(alarms_per_day: float) -> float:
    """How long to watch without a false alarm to know, by 95 %, that there are at most so many a day.

    By the "rule of three": of a Poisson process none is seen in that time with a probability of exp(-3).
    """
    return 3 * _DAY / alarms_per_day if alarms_per_day > 0 else float("inf")


def _lasts(track: Track) -> bool:
    return track.length >= LEAST_SECONDS - _SLACK
