"""Progress of library functions: they do not print, but report to a `Progress` that they are handed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


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
