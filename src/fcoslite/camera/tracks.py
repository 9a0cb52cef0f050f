"""Boxes that are one and the same from frame to frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcoslite.detections.detections import Detections
from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.inference.tracking import Tracker, Tracking

_SAME = 0.1  # IoU from which the tracker takes two boxes for one


@dataclass(frozen=True, eq=False)
class Track:
    """One that stays for some frames, though not every frame between them need show it.

    Attributes:
        class_id: Of its boxes.
        frames: [N] int64, positions of the frames that show it, ascending.
        seconds: [N] float64, of these frames.
        boxes_xyxy: [N, 4] float32, pixels.
        scores: [N] float32.
    """

    class_id: int
    frames: np.ndarray
    seconds: np.ndarray
    boxes_xyxy: np.ndarray
    scores: np.ndarray

    @property
    def start(self) -> float:
        """Seconds of its first box."""
        return float(self.seconds[0])

    @property
    def length(self) -> float:
        """Seconds from its first box to its last."""
        return float(self.seconds[-1] - self.seconds[0])

    @property
    def best(self) -> int:
        """The place of its box of the highest score, of several the largest."""
        areas = (self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]).prod(axis=1)
        return int(np.lexsort((areas, self.scores))[-1])


def find_tracks(seconds: Sequence[float], found: Sequence[Detections], score: float) -> list[Track]:
    """Track the boxes of a stretch of frames as `detect --track` does.

    Args:
        seconds: Of the frames, ascending.
        found: What is in each.
        score: From which on a box counts; lower ones help to keep a track.

    Returns:
        In the order in which they begin.
    """
    tracker, helping = Tracker(score), Tracking(score).helping_score
    tracks: dict[int, list[tuple[int, Detections]]] = {}  # by number: frame, and the box alone
    last: Detections | None = None  # the boxes of the last frame that have no number
    for frame, each in enumerate(found):
        tracked = tracker.update(each.take(each.scores >= helping), seconds[frame])
        numbers = np.asarray(tracked.track_ids)
        for row in np.flatnonzero(numbers > 0).tolist():
            box, number = tracked.take(np.array([row])), int(numbers[row])
            if number not in tracks:  # a number is given to the second box in a row: the first is part of it
                nearest = None if last is None else _nearest(last, box)
                tracks[number] = []
                if last is not None and nearest is not None:  # it is of no other track, then
                    tracks[number].append((frame - 1, last.take(np.array([nearest]))))
                    last = last.take(np.arange(len(last)) != nearest)
            tracks[number].append((frame, box))
        last = tracked.take(numbers < 0)
    return sorted((_track(boxes, seconds) for boxes in tracks.values()), key=lambda track: track.start)


def _nearest(found: Detections, box: Detections) -> int | None:
    """The row of the one among some that overlaps a box of its class most, if any does."""
    overlaps = pairwise_iou(found.boxes_xyxy, box.boxes_xyxy, np.zeros(1, bool))[:, 0]
    overlaps = np.where(found.class_ids == box.class_ids, overlaps, 0)
    return int(overlaps.argmax()) if overlaps.max(initial=0) >= _SAME else None


def _track(boxes: Sequence[tuple[int, Detections]], seconds: Sequence[float]) -> Track:
    frames = [frame for frame, _ in boxes]
    return Track(
        class_id=int(boxes[0][1].class_ids[0]),
        frames=np.array(frames),
        seconds=np.array([seconds[frame] for frame in frames], np.float64),
        boxes_xyxy=np.concatenate([box.boxes_xyxy for _, box in boxes]),
        scores=np.concatenate([box.scores for _, box in boxes]),
    )
