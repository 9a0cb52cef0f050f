"""Ctrl-C, SIGTERM and SIGHUP: as a request, which training answers between two batches, or as an interruption."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from fcoslite.errors import Interrupted

_log = logging.getLogger("fcoslite")

# SIGHUP: the terminal was closed; Windows has none
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopRequest:
    """Inside the context, the first of these signals is only noted; the next one acts as it would have without us.

    One that is ignored stays so, as `nohup` wants it. Outside the main thread Python allows no signal handlers, and
    nothing is noted.

    Attributes:
        signal_number: Of the signal that came; None before.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in _SIGNALS:
            if signal.getsignal(number) == signal.SIG_IGN:
                continue
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not in the main thread
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        self._restore()
        _log.warning("stopping after this batch; once more stops at once")

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)


@contextmanager
def killed_as_interrupted() -> Iterator[None]:
    """Let `kill` and a closed terminal end as Ctrl-C does, but for the exit code: an .mp4 has no index until closed."""
    received: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    ours = [name for name in names if before[name] == signal.SIG_DFL]  # nohup has set another
    for name in ours:
        signal.signal(getattr(signal, name), interrupt)
    try:
        yield
    except KeyboardInterrupt:
        if received:
            raise Interrupted(f"stopped by {signal.Signals(received[0]).name}", "", received[0]) from None
        raise
    finally:
        for name in ours:
            signal.signal(getattr(signal, name), before[name])
