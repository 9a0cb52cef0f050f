"""Progress of library functions: they do not print, but report to a `Progress` that they are handed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from time import monotonic
from typing import Protocol

_log = logging.getLogger("fcoslite")

_SAY_EVERY = 60.0  # seconds


class Advance(Protocol):
    """Called with the number of units done, and a short note to show beside the bar."""

    def __call__(self, amount: int = 1, note: str = "") -> None:
        """Report that `amount` more units are done."""


# progress(title, total, unit) opens a bar; total None means unknown.
Progress = Callable[[str, int | None, str], AbstractContextManager[Advance]]


@contextmanager
def no_progress(title: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Report to nobody: the default of every library function."""

    def advance(amount: int = 1, note: str = "") -> None:
        pass

    yield advance


@contextmanager
def logged_progress(title: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Report to the log, a line a minute: where there is no terminal for a bar. Shorter work says nothing."""
    said = monotonic()
    done, latest_note = 0, ""
    first: tuple[float, int] | None = None

    def advance(amount: int = 1, note: str = "") -> None:
        nonlocal said, done, latest_note, first
        now = monotonic()
        done += amount
        latest_note = note or latest_note
        # what was done in an earlier sitting, and a step that is compiled, tell nothing of how fast it goes on
        first = first or (now, done)
        if now - said >= _SAY_EVERY:
            said = now
            seconds, units = now - first[0], done - first[1]
            rate = units / seconds if seconds > 0 else 0.0
            _log.info("%s", _line(title, done, total, unit, rate, latest_note))

    yield advance


def _line(title: str, done: int, total: int | None, unit: str, rate: float, note: str) -> str:
    text = f"{title}: {done:,} {unit}"
    if total:
        text = f"{title}: {done:,} of {total:,} {unit}, {done / total:.0%}"
    if rate > 0:
        text += f", {rate:.1f} {unit}/s" if rate >= 1 else f", {rate * 60:.1f} {unit}/min"
        if total is not None:
            text += f", {timedelta(seconds=round(max(0, total - done) / rate))} left"
    return text + (f"; {note}" if note else "")
