"""A file that lines are added to, each on the disk before the next thing happens."""

import io
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from fcoslite.errors import DataError
from fcoslite.storage.space import check_room


class LineLog:
    """A file of lines that only grows. A line is there whole, after a kill and a power cut, too, once it was added.

    What a kill left of a line is cut off by the next one: nobody was told that it was there.

    Args:
        path: The file; made with its first line if it is not there.

    Attributes:
        lines: Those that were there, each without its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content = path.read_bytes() if path.exists() else b""
        self._size = content.rfind(b"\n") + 1  # bytes, up to the last whole line
        self.lines = content[: self._size].splitlines()
        self._file: io.FileIO | None = None

    def add(self, line: bytes) -> None:
        """Add a line, without its end; if this raises, it was not added.

        Raises:
            FcosliteError: The disk is nearly full.
            DataError: It cannot be written.
        """
        check_room(self._path)
        try:
            if self._file is None:
                self._file = self._open()
            self._file.seek(self._size)
            if self._file.write(line + b"\n") != len(line) + 1:
                raise OSError("the disk took only a part of it")
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self._path, self._size)
            hint = "free some space, or see what its disk has"
            raise DataError(f"{self._path} cannot be written: {error.strerror or error}", hint) from error
        self._size += len(line) + 1

    def _open(self) -> io.FileIO:
        is_new = not self._path.exists()
        file = io.FileIO(self._path, "x+" if is_new else "r+")
        file.truncate(self._size)
        if is_new:
            _onto_the_disk(self._path.parent)
        return file

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "LineLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _onto_the_disk(folder: Path) -> None:
    """That a file is in a folder is written there by itself; Windows opens no folder."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
