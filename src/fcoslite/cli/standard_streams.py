"""stdin, stdout and stderr as whoever starts the command leaves them: open, closed, full, or read no longer."""

import os
import sys
from typing import IO, Any, cast

from fcoslite.errors import FcosliteError

_NARROWEST, _LARGEST = 10, 10_000  # columns or lines that a terminal may have


class StdoutError(FcosliteError):
    """A result cannot be written to stdout."""

    def __init__(self, error: OSError) -> None:
        reason = (error.strerror or str(error)).lower()
        super().__init__(f"the result cannot be written to stdout: {reason}", "send it to a file, or to another disk")


class NoReaderError(BrokenPipeError):
    """Nobody reads stdout any more: whoever did has seen enough, and is told nothing."""


class _Stdout:
    """The standard output, whose faults are ours to tell."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except BrokenPipeError as error:
            raise NoReaderError(*error.args) from None
        except OSError as error:
            raise StdoutError(error) from None

    def flush(self) -> None:
        try:
            self._file.flush()
        except BrokenPipeError as error:
            raise NoReaderError(*error.args) from None
        except OSError as error:
            raise StdoutError(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def prepare_streams() -> None:
    """Make the standard streams ones that can be used, and a size of the terminal that no terminal has, none."""
    if sys.stdin is None:
        _reserve(0, os.O_RDONLY)
        sys.stdin = os.fdopen(0, "r", closefd=False)
    if sys.stdout is None:
        _reserve(1, os.O_RDONLY)  # so that writing fails, as it should
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        _reserve(2, os.O_WRONLY)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    sys.stdout = cast(Any, _Stdout(sys.stdout))
    for name in ("COLUMNS", "LINES"):
        value = os.environ.get(name, "")
        if value.isdecimal() and not _NARROWEST <= int(value) <= _LARGEST:
            del os.environ[name]


def flush_stdout() -> None:
    """Write what is left for stdout; what cannot be written is dropped, for Python would try again at its end.

    Raises:
        StdoutError: It cannot be written.
        NoReaderError: Nobody reads it any more.
    """
    try:
        sys.stdout.flush()
    except (StdoutError, NoReaderError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        raise


def _reserve(number: int, flags: int) -> None:
    """Have a file descriptor taken: else the next file that is opened gets it, and what is printed ends up in there."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, flags)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
