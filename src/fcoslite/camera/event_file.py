"""The file of events, a JSON line each, and their pictures in a folder beside it."""

import json
import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from fcoslite.camera.events import Event
from fcoslite.data.images import encode_picture
from fcoslite.errors import DataError
from fcoslite.storage.files import replace_file
from fcoslite.storage.line_file import LineFile, is_stdout
from fcoslite.storage.locks import locked
from fcoslite.storage.space import check_room, check_writable, is_special
from fcoslite.text import to_json

_BEGIN = b'{"id":'  # of an event
_TAIL_BYTES = 64 * 2**10
_HINT = "name another file with --events"


def check_event_file(path: Path, overwrite: bool) -> None:
    """See that events can be written to a file, and that one that is there holds events, which are kept.

    Args:
        path: `-` is stdout.
        overwrite: What is there may go.

    Raises:
        DataError: It cannot be written, or holds something else.
        FcosliteError: Its disk is full.
    """
    if is_stdout(path):
        return
    check_writable(path, _HINT, folder=False)
    folder = pictures_of(path)
    if folder is not None:
        check_writable(folder, _HINT)
    check_room(path)
    if path.is_file() and not overwrite and not is_special(path):
        with path.open("rb") as file:
            first = file.readline(_TAIL_BYTES)
        if first and _id(first) is None and not _is_torn(first):
            raise DataError(f"{path} is there already, and holds no events", f"{_HINT}, or add --overwrite")


def pictures_of(path: Path) -> Path | None:
    """The folder of the pictures: `events/` beside `events.jsonl`; None where the lines go to a pipe or device."""
    if is_stdout(path) or is_special(path):
        return None
    return path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-pictures")


class EventFile:
    """A file of events, gone on with if it is there; a half line at its end, which a power cut leaves, is cut off.

    Nobody else writes to it meanwhile. Use it in `with`.

    Args:
        path: `-` is stdout. Its pictures go to `pictures_of`, under the camera's name.
        overwrite: Begin anew.

    Raises:
        BusyError: Somebody else writes to it.
    """

    def __init__(self, path: Path, overwrite: bool) -> None:
        self.path = path
        self._pictures = pictures_of(path)
        self._lines = LineFile(path) if self._pictures is None else None
        self._held = ExitStack()
        if self._pictures is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(locked(path.with_name(f".{path.name}.lock"), str(path)))
            if path.is_file():
                with path.open("r+b") as file:
                    file.truncate(0 if overwrite else _end_of_lines(file))

    def save_picture(self, event: Event) -> Event:
        """Save an event's picture; the event then tells its name.

        Raises:
            FcosliteError: The disk is nearly full.
            OSError: It cannot be written.
        """
        if self._pictures is None or not event.picture_rgb.size:
            return event
        path = self._pictures / event.camera / f"{_name(event)}.jpg"
        check_room(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, encode_picture(event.picture_rgb, path))
        return replace(event, picture=PurePosixPath(path.relative_to(self.path.parent).as_posix()))

    def append(self, line: str) -> None:
        """Add a line without its end; once this returns, neither a kill nor a power cut can take it.

        Raises:
            FcosliteError: The disk is nearly full, or nobody reads the pipe any more.
            OSError: It cannot be written.
        """
        if self._lines is not None:
            self._lines.write(f"{line}\n")
            return
        check_room(self.path)
        with self.path.open("ab") as file:
            end = file.tell()
            try:
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(end)
                raise

    def holds(self, event_id: str) -> bool:
        """Whether one of the last lines is of this event."""
        if self._lines is not None or not self.path.is_file():
            return False
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - _TAIL_BYTES))
            return event_id in map(_id, file.read().splitlines())

    def close(self) -> None:
        """Let others write to it."""
        self._held.close()
        if self._lines is not None:
            self._lines.close()

    def __enter__(self) -> "EventFile":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def event_line(event: Event) -> str:
    """An event as JSON, without the end of the line."""
    return to_json(event.document())


def _name(event: Event) -> str:
    """When the event began, and its id: names sort by time."""
    began = event.document()["start"]
    if isinstance(began, float):
        return f"{began:09.3f}-{event.id[:8]}"
    return f"{began.replace('-', '').replace(':', '')}-{event.id[:8]}"


def _end_of_lines(file: BinaryIO) -> int:
    """Where the last whole line ends."""
    begin = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
    file.seek(begin)
    tail = file.read()
    end = tail.rfind(b"\n") + 1
    return begin + (end or (len(tail) if begin else 0))


def _is_torn(line: bytes) -> bool:
    """Whether a line is the first half of an event, as a power cut leaves it: it will be cut off."""
    return not line.endswith((b"}", b"\n")) and line[: len(_BEGIN)] == _BEGIN[: len(line)]


def _id(line: bytes) -> str | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    told = document.get("id") if isinstance(document, dict) and "track" in document else None
    return told if isinstance(told, str) else None
