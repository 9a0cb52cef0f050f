"""The files results are saved to: drawn video, drawn images, one JSON line per frame."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcoslite.data.images import encode_picture
from fcoslite.detections.draw import fit_image
from fcoslite.detections.formats import to_boxes
from fcoslite.errors import FcosliteError
from fcoslite.inference.detect import FrameResult
from fcoslite.inference.input.recording_clock import FALLBACK_FPS
from fcoslite.storage.line_file import LineFile
from fcoslite.storage.native_path import native_path
from fcoslite.storage.space import check_room
from fcoslite.text import to_json

VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


class VideoWriter:
    """Drawn frames as a video: MPEG-4 in .mp4, Motion JPEG in .avi.

    The file grows under its final name. An .avi plays up to where a recording broke off, even at a power
    cut. An .mp4 gets its index when it is closed, and OpenCV offers no way to write that piecewise: so
    whatever can be caught (an error, Ctrl-C, a polite kill) must end in `close`.

    The video keeps time: frames are repeated or left out where the source does not keep its rate. A
    live one is sampled as fast as the model runs, and nobody knows beforehand how fast; a recorded one
    may be of a variable rate, or damaged.

    Args:
        path: Ends in .mp4 or .avi.
        fps: The source's frames per second, if known.
    """

    def __init__(self, path: Path, fps: float | None) -> None:
        self._path = path
        self._fps = fps or FALLBACK_FPS
        self._video: Any = None
        self._size = (0, 0)
        self._before_bgr: np.ndarray | None = None
        self._start_seconds = 0.0
        self._written = 0

    def write(self, result: FrameResult) -> None:
        """Draw and encode one frame; one of another size than the first is fitted into that.

        Raises:
            FcosliteError: The video cannot be created, or the disk is nearly full.
        """
        image_rgb = result.draw()
        if self._video is None:
            self._start_seconds = result.frame.seconds
            self._open(image_rgb)
        width, height = self._size
        if image_rgb.shape[:2] != (height, width):
            image_rgb = fit_image(image_rgb, width, height)
        image_bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
        due = 1 + round((result.frame.seconds - self._start_seconds) * self._fps)
        while self._written < due:
            check_room(self._path)  # OpenCV never reports a failed write
            # until now it was the picture before that was seen
            self._video.write(image_bgr if self._written == due - 1 else self._before_bgr)
            self._written += 1
        self._before_bgr = image_bgr

    def close(self) -> None:
        """Write the index."""
        if self._video is not None:
            self._video.release()

    def _open(self, image_rgb: np.ndarray) -> None:
        check_room(self._path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        height, width = image_rgb.shape[:2]
        codec = cv2.VideoWriter.fourcc(*VIDEO_CODECS[self._path.suffix.lower()])
        self._size = (width, height)
        with native_path(self._path) as text:
            self._video = cv2.VideoWriter(text, codec, self._fps, self._size)
        if not self._video.isOpened():
            hint = "try the other kind of file, .mp4 or .avi"
            raise FcosliteError(f"OpenCV cannot write {self._path} of {width}x{height} pixels", hint)


class ImageWriter:
    """Drawn images: one file, or a folder of files named as in the source."""

    def __init__(self, path: Path, folder: bool) -> None:
        self._path = path
        self._folder = folder

    def write(self, result: FrameResult) -> None:
        """Draw and write one image.

        Raises:
            FcosliteError: The disk is nearly full.
            OSError: It cannot be written.
        """
        path = self._path / result.frame.name if self._folder else self._path
        check_room(path)
        encoded = encode_picture(result.draw(), path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded)

    def close(self) -> None:
        """Nothing is left open."""


class JsonlWriter:
    """One JSON line per frame.

    Args:
        path: `-` is stdout.
    """

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)

    def write(self, result: FrameResult) -> None:
        """Append one line.

        Raises:
            FcosliteError: The disk is nearly full, or nobody reads the pipe any more.
            OSError: It cannot be written.
        """
        self._file.write(to_json(to_record(result)) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def to_record(result: FrameResult) -> dict[str, Any]:
    """A result as plain data: boxes as xywh in pixels of the original image, the score not cube-rooted."""
    return {
        "frame": result.frame.index,
        "seconds": round(result.frame.seconds, 3),
        "name": result.frame.name,
        "detections": to_boxes(result.detections),
    }
