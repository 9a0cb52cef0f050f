"""A camera's folder while it is collected into: frames are added, nothing is taken away, and it has a size."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fcoslite.camera.frames import FRAMES, IMAGES, CameraFrame, FrameLog, is_frame_name
from fcoslite.data.images import encode_picture
from fcoslite.errors import DataError
from fcoslite.storage.files import file_size, replace_file
from fcoslite.storage.locks import locked
from fcoslite.storage.space import check_room, check_writable

_LOCK = ".collect.lock"
_QUALITY = 90  # of the JPEGs; a stream has less
_HINT = "choose another folder with --out"


class CollectingFolder:
    """An open folder; threads may add frames at the same time.

    Args:
        path: The folder.
        log: Its `frames.jsonl`.
        max_bytes: Most bytes that its pictures may take, those that are there, too.
    """

    def __init__(self, path: Path, log: FrameLog, max_bytes: float) -> None:
        self._path = path
        self._log = log
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self.frames = list(log.frames)
        self.bytes = sum(max(0, file_size(path / IMAGES / frame.file_name)) for frame in self.frames)
        self.added = 0

    def add(self, frame: CameraFrame, image_rgb: np.ndarray) -> bool:
        """Write a picture, then its line; False, and nothing written, if there would be too many bytes.

        Args:
            frame: No other has its file name.
            image_rgb: [h, w, 3] uint8.

        Raises:
            FcosliteError: The disk is full, or does not take it.
        """
        jpeg = encode_picture(image_rgb, ".jpg", jpeg_quality=_QUALITY)
        path = self._path / IMAGES / frame.file_name
        with self._lock:
            if self.bytes + len(jpeg) > self._max_bytes:
                return False
            check_room(self._path)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, jpeg)
                try:
                    self._log.append(frame)
                except BaseException:
                    path.unlink()
                    raise
            except OSError as error:
                hint = "make room or mend what it says, then run the same command again: what is there is kept"
                raise DataError(f"{path} cannot be written: {error}", hint) from error
            self.frames.append(frame)
            self.bytes += len(jpeg)
            self.added += 1
        return True


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be collected into.

    Raises:
        DataError: It cannot be written, or holds something else.
    """
    check_writable(path, _HINT)
    if path.is_dir() and not (path / FRAMES).exists():
        foreign = next((entry.name for entry in path.iterdir() if entry.name not in (IMAGES, _LOCK)), None)
        if foreign is not None:
            raise DataError(f"{path} holds something else, {foreign} for one, and no {FRAMES}", _HINT)


@contextmanager
def collecting_folder(path: Path, max_bytes: float) -> Iterator[CollectingFolder]:
    """Open a folder to add frames to, made if need be.

    Args:
        path: The folder.
        max_bytes: Most bytes that its pictures may take.

    Raises:
        BusyError: Another process collects into it.
        DataError: Its `frames.jsonl` is none of ours.
    """
    path.mkdir(parents=True, exist_ok=True)
    with locked(path / _LOCK, str(path)), FrameLog(path) as log:
        _delete_unlisted(path, log.frames)
        yield CollectingFolder(path, log, max_bytes)


def _delete_unlisted(path: Path, frames: list[CameraFrame]) -> None:
    """Delete what a kill between a picture and its line left: one picture of each camera, and no more than that.

    More of them are nobody's leftovers: `frames.jsonl` was lost, or somebody put them there.
    """
    listed = {frame.file_name for frame in frames}
    for folder in (path / IMAGES).glob("*/"):
        names = [entry.name for entry in folder.iterdir() if is_frame_name(entry.name)]
        unlisted = [name for name in names if f"{folder.name}/{name}" not in listed]
        if len(unlisted) == 1:
            (folder / unlisted[0]).unlink()
