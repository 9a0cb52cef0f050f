"""When the frames of a recording are shown: the rate may vary, and the container knows."""

from math import isfinite

FALLBACK_FPS = 25.0  # for a source that does not tell its own

_LONGEST_PAUSE_SECONDS = 3600.0  # between two frames; a longer one must lie within the length
_LENGTH_SLACK = 1.1  # containers estimate it


class RecordingClock:
    """Gives each frame its time since the first: the container's, as long as that is plausible.

    It is not where it stands still, runs backwards, or leaps far ahead: then the frame comes at the stated rate
    after the one before. So the times always grow.

    Args:
        fps: Frames per second, where known: at a variable rate, some mean of them.
        count: Number of frames, where known: at a variable rate an estimate, their time times `fps`.
    """

    def __init__(self, fps: float | None, count: int | None) -> None:
        self._step = 1 / (fps or FALLBACK_FPS)
        self._length = count * self._step if fps and count else None
        self._zero_ms: float | None = None
        self._index = 0
        self._last = 0.0

    def seconds(self, index: int, container_ms: float) -> float:
        """The time of a frame; 0 for the first that is asked for, if its index is 0.

        Args:
            index: Its number, larger at every call.
            container_ms: When the container says that it is shown, milliseconds.
        """
        if self._zero_ms is None:
            self._last, self._index = index * self._step, index
            self._zero_ms = container_ms - 1000 * self._last
            return self._last
        told = (container_ms - self._zero_ms) / 1000
        due = self._last + (index - self._index) * self._step
        self._last, self._index = told if self._plausible(told) else due, index
        return self._last

    def reached(self, share: float) -> bool:
        """Whether the last frame ends behind such a share of the length; no where that is not known."""
        return self._length is not None and self._last + self._step >= share * self._length

    def _plausible(self, told: float) -> bool:
        if not isfinite(told) or told <= self._last:
            return False
        # some containers tell too short a length
        within = self._length is not None and told <= _LENGTH_SLACK * self._length
        return within or told - self._last <= _LONGEST_PAUSE_SECONDS
