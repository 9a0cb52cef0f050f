"""When a frame was taken: by this machine's clock, or by the file of a recording."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fcoslite.errors import ConfigError

_log = logging.getLogger("fcoslite")

_JUMP = timedelta(seconds=60)


class WallClock:
    """This machine's time of day, for several threads; a warning tells when it is set while they watch.

    Args:
        wall: The time of day, UTC.
        steady: Seconds of a clock that nobody sets.
    """

    def __init__(
        self, wall: Callable[[], datetime] = lambda: datetime.now(UTC), steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._lock = threading.Lock()
        self._zero = self._origin(wall())

    def now(self) -> datetime:
        """The time, UTC."""
        with self._lock:
            moment = self._wall()
            zero = self._origin(moment)
            jump, self._zero = zero - self._zero, zero
        if abs(jump) > _JUMP:
            way = "ahead" if jump > timedelta(0) else "back"
            _log.warning(
                "the clock of this machine went %s by %s: it was set, or the machine slept. What was taken before "
                "keeps its times: let the network set the clock before collecting (timedatectl set-ntp true)",
                way,
                timedelta(seconds=round(abs(jump).total_seconds())),
            )
        return moment

    def _origin(self, moment: datetime) -> datetime:
        return moment - timedelta(seconds=self._steady())


def recording_start(path: Path, seconds: float) -> datetime:
    """When a recording began, UTC: its file was written last when it ended.

    Args:
        path: The file.
        seconds: Its length; 0 where that is not known.
    """
    return datetime.fromtimestamp(path.stat().st_mtime, UTC) - timedelta(seconds=seconds)


def parse_start(text: str) -> datetime:
    """The time that `--start` names, such as `2026-11-28T22:00` or `2026-11-28 22:00:00+01:00`; local without zone.

    Raises:
        ConfigError: It is none.
    """
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"start is '{text}'", "it is a time like 2026-11-28T22:00, local, or with +01:00 or Z"
        ) from None
