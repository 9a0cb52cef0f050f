"""Ctrl-C, SIGTERM and SIGHUP: as a request, which training answers between two batches, or as an interruption."""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

from fcoslite.errors import Interrupted

_log = logging.getLogger("fcoslite")

# SIGHUP: the terminal was closed; Windows has none
_KILLS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_STOPS = [signal.SIGINT, *_KILLS]

Handler = Callable[[int, FrameType | None], None]


class _Handlers:
    """Handlers of signals in the place of others, until those are put back.

    Outside the main thread Python allows none, and nothing is done.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def set(self, numbers: Iterable[int], handler: Handler) -> None:
        for number in numbers:
            with suppress(ValueError):  # not in the main thread
                self._before[number] = signal.signal(number, handler)

    def put_back(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)


class StopRequest:
    """Inside the context, the first of these signals is only noted; the next one acts as it would have without us.

    One that is ignored stays so, as `nohup` wants it. Outside the main thread only `note_signal` is heard.

    Args:
        answer: What is said to it.

    Attributes:
        signal_number: Of the signal that came; None before.
    """

    def __init__(self, answer: str = "stopping after this batch; once more stops at once") -> None:
        self._answer = answer
        self.signal_number: int | None = None
        self._handlers = _Handlers()

    def __enter__(self) -> "StopRequest":
        heard = [number for number in _STOPS if signal.getsignal(number) != signal.SIG_IGN]
        self._handlers.set(heard, self._note)
        _open.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open.remove(self)
        self._handlers.put_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        self._handlers.put_back()
        _log.warning("%s", self._answer)


_open: list[StopRequest] = []


def note_signal(number: int) -> bool:
    """Note in this process a signal that came to another, which says so; False: nothing here would answer it yet."""
    for request in list(_open):
        request.signal_number = number
    return bool(_open)


@contextmanager
def killed_as_interrupted() -> Iterator[None]:
    """Let `kill` and a closed terminal end as Ctrl-C does, but for the exit code: an .mp4 has no index until closed.

    A signal that has a handler, or is ignored, keeps it. Outside the main thread nothing changes.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    handlers = _Handlers()
    handlers.set([number for number in _KILLS if signal.getsignal(number) == signal.SIG_DFL], interrupt)
    try:
        yield
    except KeyboardInterrupt:
        if received:
            raise Interrupted(f"stopped by {signal.Signals(received[0]).name}", "", received[0]) from None
        raise
    finally:
        handlers.put_back()
