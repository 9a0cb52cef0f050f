"""Text that is written line by line as it comes: to a file, a pipe, a device, or the standard output."""

import os
import sys
from pathlib import Path
from typing import TextIO

from fcoslite.errors import FcosliteError
from fcoslite.storage.space import check_room
from fcoslite.text import as_utf8

STDOUT = Path("-")


def is_stdout(path: Path) -> bool:
    """Whether it is the standard output: `-`, or what leads there, such as /dev/stdout."""
    if path == STDOUT:
        return True
    try:
        return os.path.samestat(path.stat(), os.fstat(1))
    except (OSError, ValueError):  # there is no such file, or no standard output
        return False


class LineFile:
    """A file of lines in UTF-8, made at the first and flushed after each: a run that breaks off keeps them.

    Args:
        path: The file; `-` is the standard output.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_stdout = is_stdout(path)
        self._file: TextIO | None = None

    def write(self, lines: str) -> None:
        """Add one or more lines, each with its end.

        Raises:
            FcosliteError: The disk is nearly full, or nobody reads the pipe any more.
            BrokenPipeError: Nobody reads the standard output any more.
            OSError: It cannot be written.
        """
        if not self._is_stdout:
            check_room(self._path)
        if self._file is None:
            self._file = self._open()
        try:
            self._file.write(as_utf8(lines))
            self._file.flush()
        except BrokenPipeError:
            if self._is_stdout:
                raise
            hint = "its reader has ended; write to a file"
            raise FcosliteError(f"nobody reads {self._path} any more", hint) from None

    def close(self) -> None:
        """Close the file; the standard output stays open."""
        if self._file is not None and not self._is_stdout:
            self._file.close()

    def _open(self) -> TextIO:
        if not self._is_stdout:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._path.open("w", encoding="utf-8", newline="")
        if (reconfigure := getattr(sys.stdout, "reconfigure", None)) is not None:
            reconfigure(encoding="utf-8", newline="")  # whatever the locale: JSON is UTF-8
        return sys.stdout
