"""The frames of a camera's folder: pictures under `images/`, and `frames.jsonl`, a line a frame.

A frame's file is on the disk before its line is, and its line before the next frame: a kill loses the frame it was at.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec

from fcoslite.data.capture import date_text, parse_date
from fcoslite.data.formats.table import check_file_name
from fcoslite.errors import DataError
from fcoslite.storage.line_log import LineLog

FRAMES = "frames.jsonl"
IMAGES = "images"

Why = Literal["moved", "quiet"]


@dataclass(frozen=True)
class CameraFrame:
    """A frame of a camera.

    Attributes:
        file_name: Relative to `images/`, with slashes: the camera, and the time.
        camera: Its name.
        captured: When it was taken, UTC.
        why: Something moved, or nothing had for a while.
        hash: Perceptual hash by which others were compared with it; None where there is none.
    """

    file_name: str
    camera: str
    captured: datetime
    why: Why
    hash: int | None = None


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    file_name: str
    camera: str
    date_captured: str
    why: Why
    hash: str | None = None  # 16 hexadecimal digits: JSON has no numbers of 64 bits


def frame_file_name(camera: str, captured: datetime) -> str:
    """The file name of a frame, relative to `images/`: `door/20261128T224103.120Z.jpg`."""
    moment = captured.astimezone(UTC)
    return f"{camera}/{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z.jpg"


def is_frame_name(name: str) -> bool:
    """Whether a file name without folders is that of a frame."""
    return re.fullmatch(r"\d{8}T\d{6}\.\d{3}Z\.jpg", name) is not None


def read_frames(folder: Path) -> list[CameraFrame]:
    """The frames of a camera's folder in the order in which they were kept; what a kill left half written is none.

    Args:
        folder: With `frames.jsonl` in it; without one it has no frames.

    Raises:
        DataError: A line is none of ours.
    """
    return FrameLog(folder).frames


class FrameLog:
    """`frames.jsonl`, gone on with if it is there; a half line at its end is cut off by the next one.

    Args:
        folder: The camera's folder, which nobody else writes to meanwhile.

    Attributes:
        frames: Those that were there.

    Raises:
        DataError: A line is none of ours.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / FRAMES
        self._log = LineLog(path)
        self.frames = [_frame(line, number, path) for number, line in enumerate(self._log.lines, start=1)]

    def append(self, frame: CameraFrame) -> None:
        """Write a frame, whose file is there; once this returns, neither a kill nor a power cut can take its line.

        Raises:
            FcosliteError: The disk is nearly full.
            DataError: It cannot be written.
        """
        line = _Line(
            frame.file_name,
            frame.camera,
            date_text(frame.captured),
            frame.why,
            None if frame.hash is None else f"{frame.hash:016x}",
        )
        self._log.add(msgspec.json.encode(line))

    def __enter__(self) -> "FrameLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()


def _frame(text: bytes, number: int, path: Path) -> CameraFrame:
    try:
        line = msgspec.json.decode(text, type=_Line)
        frame = CameraFrame(
            file_name=line.file_name,
            camera=line.camera,
            captured=parse_date(line.date_captured),
            why=line.why,
            hash=None if line.hash is None else int(line.hash, 16),
        )
    except ValueError as error:  # those of msgspec, too
        hint = 'each line is like {"file_name": "door/20261128T224103.120Z.jpg", "camera": "door", '
        hint += '"date_captured": "2026-11-28T22:41:03.120Z", "why": "moved"}: mend or delete it'
        raise DataError(f"{path}, line {number}: {error}", hint) from None
    check_file_name(frame.file_name, path)
    return frame
