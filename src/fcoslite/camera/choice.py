"""Which of a camera's frames to keep: unlike those there, no more than so many an hour, and some in which all is quiet.

Every rule speaks of all frames that are kept, whenever they were taken, and more of them never allow one that fewer
refused. So a recording that is gone through again, after a kill in the middle of it, adds what it lacked and no more.
"""

from bisect import bisect_left, insort
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np

from fcoslite.camera.frames import CameraFrame
from fcoslite.data.inspect.near_hashes import NEAR_BITS

_AT_ONCE = 0.5  # share of an hour's frames that its first minute may take; the others are allowed as the hour goes by
_QUIET_SHARE = 0.2  # of an hour's frames, which no motion takes
_APART_SECONDS = 1.0  # two frames of one second are one picture
_HOUR = timedelta(hours=1)


class Choice:
    """Chooses frames of one camera.

    Args:
        per_hour: Most frames of an hour of the day, at least 1.
    """

    def __init__(self, per_hour: int) -> None:
        self._per_hour = per_hour
        # who wants more frames than there are seconds wants them nearer to each other
        self._apart = min(timedelta(seconds=_APART_SECONDS), _HOUR / per_hour)
        self._quiet_apart = _HOUR / (_QUIET_SHARE * per_hour)
        self._in_hour: Counter[datetime] = Counter()
        self._times: list[datetime] = []
        self._quiet_times: list[datetime] = []
        self._hashes: list[int] = []

    def add(self, frame: CameraFrame) -> None:
        """Take a frame into account that is kept."""
        self._in_hour[_hour(frame.captured)] += 1
        insort(self._times, frame.captured)
        if frame.why == "quiet":
            insort(self._quiet_times, frame.captured)
        if frame.hash is not None:
            self._hashes.append(frame.hash)

    def takes_moved(self, captured: datetime, silhouette: int | None) -> bool:
        """Whether to keep a frame in which something moves.

        Args:
            captured: When it was taken, UTC.
            silhouette: Perceptual hash of what moves.
        """
        gone = (captured - _hour(captured)) / _HOUR
        allowed = (1 - _QUIET_SHARE) * self._per_hour * (_AT_ONCE + (1 - _AT_ONCE) * gone)
        if self._in_hour[_hour(captured)] >= allowed or _has_within(self._times, captured, self._apart):
            return False
        if silhouette is None or not self._hashes:
            return True
        differing = np.bitwise_count(np.array(self._hashes, np.uint64) ^ np.uint64(silhouette))
        return int(differing.min()) > NEAR_BITS

    def takes_quiet(self, captured: datetime) -> bool:
        """Whether to keep a frame in which nothing has moved for a while, captured at a time in UTC."""
        full = self._in_hour[_hour(captured)] >= self._per_hour
        return not full and not _has_within(self._quiet_times, captured, self._quiet_apart)


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _has_within(times: list[datetime], moment: datetime, distance: timedelta) -> bool:
    """Whether ascending times have one that is nearer to a moment than a distance."""
    place = bisect_left(times, moment)
    return any(abs(moment - other) < distance for other in times[max(0, place - 1) : place + 1])
