"""A number for every person that stays from frame to frame, and how many cross a line; by the package trackers."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fcoslite.detections.detections import Detections
from fcoslite.errors import FcosliteError

# of the score from which on a box counts: what scores more helps to keep a number, and hardly ever is nobody
_HELPING_SHARE = 0.6
_SURER = 0.1  # above that score a box gets a number: of doubtful ones most are gone in a second
# the tracker's unit of time is 1/30 s otherwise: with frames further apart its Kalman filter takes the trembling of a
# box for speed, and loses people who stand still
_STEPS_PER_SECOND = 5.0
_STEADY_FRAMES = 3  # on the other side of a line, so that nobody who stands on it is counted again and again

_MISSING = "to track, the package trackers is needed", 'pip install "fcoslite[track]"'


@dataclass(frozen=True)
class Line:
    """Across a picture, from one point to another, pixels of the frame."""

    x0: float
    y0: float
    x1: float
    y1: float


def check_tracking() -> None:
    """See that what tracking needs is installed.

    Raises:
        FcosliteError: It is not.
    """
    try:
        import trackers  # noqa: F401
    except ImportError:
        raise FcosliteError(*_MISSING) from None


class Tracker:
    """Tracks the boxes of one video, those of each class by themselves, by ByteTrack (arXiv 2110.06864).

    A person gets a number in the second frame in a row that shows it surely. A lower score then suffices to keep it; it
    is given up after a second in which nothing fits.

    Args:
        score: From which on a box counts.
    """

    def __init__(self, score: float) -> None:
        self._score = score
        self._trackers: dict[int, Any] = {}  # by class id
        self._numbers: dict[tuple[int, int], int] = {}  # by class id, and the number among those of its class

    def update(self, found: Detections, seconds: float) -> Detections:
        """Number the boxes of the next frame.

        Args:
            found: From `Tracking.helping_score` on.
            seconds: Of the frame, since the first.

        Returns:
            Boxes that score enough or have a number, in their order, with `track_ids`.
        """
        tracks = np.full(len(found), -1, np.int32)
        for class_id in {*self._trackers, *found.class_ids.tolist()}:
            rows = np.flatnonzero(found.class_ids == class_id)
            numbers = self._tracker(class_id).update(_with_rows(found, rows), timestamp=seconds)
            for row, number in zip(numbers.data["row"], numbers.tracker_id, strict=True) if len(numbers) else ():
                if number >= 0:
                    tracks[row] = self._numbers.setdefault((class_id, int(number)), len(self._numbers) + 1)
        return replace(found, track_ids=tracks).take((found.scores >= self._score) | (tracks > 0))

    def _tracker(self, class_id: int) -> Any:
        if class_id not in self._trackers:
            from trackers import ByteTrackTracker

            self._trackers[class_id] = ByteTrackTracker(
                frame_rate=_STEPS_PER_SECOND,
                track_activation_threshold=min(self._score + _SURER, 1.0),
                high_conf_det_threshold=self._score,
            )
        return self._trackers[class_id]


@dataclass(frozen=True)
class Tracking:
    """How to track.

    Attributes:
        score: From which on a box counts.
        line: Count who crosses it.
    """

    score: float
    line: Line | None = None

    @property
    def helping_score(self) -> float:
        """From which on the detector should give boxes."""
        return _HELPING_SHARE * self.score


@dataclass(frozen=True)
class Crossings:
    """How often a line was crossed.

    Attributes:
        line: The line.
        to_left: Towards the left, as seen from the line's first point to its second.
        to_right: Towards the right.
    """

    line: Line
    to_left: int
    to_right: int


class LineCounter:
    """Counts who crosses a line, by the middle of the lower side of the box, which is where a person stands.

    Args:
        line: The line.
    """

    def __init__(self, line: Line) -> None:
        import supervision

        self._line = line
        feet = supervision.Position.BOTTOM_CENTER
        points = supervision.Point(line.x0, line.y0), supervision.Point(line.x1, line.y1)
        self._zone: Any = supervision.LineZone(
            *points, triggering_anchors=[feet], minimum_crossing_threshold=_STEADY_FRAMES
        )

    @property
    def crossings(self) -> Crossings:
        """So far."""
        return Crossings(self._line, to_left=int(self._zone.in_count), to_right=int(self._zone.out_count))

    def update(self, found: Detections) -> None:
        """Count the crossings of the next frame, whose boxes are tracked."""
        with warnings.catch_warnings(action="ignore"):
            self._zone.trigger(found.to_supervision())


def _with_rows(found: Detections, rows: np.ndarray) -> Any:
    taken = replace(found, track_ids=None).take(rows).to_supervision()
    taken.data["row"] = rows
    return taken
