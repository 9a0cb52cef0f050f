"""Open what `--source` names: a camera, a stream, a video file, an image or a folder of images."""

import logging
import os
import re
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import cv2

from fcoslite.data.image_formats import IMAGE_SUFFIXES, is_image
from fcoslite.data.images import UnusableImageError, read_image
from fcoslite.errors import SourceError, closest
from fcoslite.inference.input.addresses import StreamAddress, is_address, parse_address
from fcoslite.inference.input.cameras import list_cameras
from fcoslite.inference.input.captures import read_live, read_recording
from fcoslite.inference.input.frame_source import Frame, FrameSource
from fcoslite.inference.input.image_files import images_in
from fcoslite.storage.native_path import native_path

_NETWORK_SECONDS = 5.0
_UNIT_OF_TIME = 1000  # of some containers, which tell it where the rate belongs: no camera has that

logger = logging.getLogger("fcoslite.inference")


def open_source(text: str, apart_seconds: float = 0.0, gives_up: bool = True) -> FrameSource:
    """Open a source and wait for its first frame.

    Args:
        text: A camera's number; an rtsp, http or https URL; a video file; an image; a folder of images.
        apart_seconds: Of what moves leave out frames that are nearer to the one before.
        gives_up: On a camera or stream that is lost and stays away; else it is waited for until the source is closed.

    Raises:
        SourceError: It does not exist or cannot be read.
    """
    _silence_opencv()
    if match := re.fullmatch(r"(?:/dev/video)?(\d+)", text):
        return _open_camera(int(match[1]), apart_seconds, gives_up)
    if is_address(text):
        return _open_stream(parse_address(text), apart_seconds, gives_up)
    path = Path(text)
    if text and path.is_dir():
        return _open_folder(path)
    if not path.is_file() and not path.is_symlink():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = closest(path.name, siblings) or "give a camera number, a URL, a video, an image or a folder of images"
        raise SourceError(f"no file or folder '{text}'", hint)
    if is_image(path):
        return FrameSource("image", path.name, _read_images([path], skip=False), count=1, path=path)
    return _open_video(path, apart_seconds)


def _open_camera(index: int, apart_seconds: float, gives_up: bool) -> FrameSource:
    def connect() -> Any:
        return cv2.VideoCapture(index)

    capture = connect()
    name = f"camera {index}"
    if not capture.isOpened():
        raise SourceError(f"{name} cannot be opened", _camera_hint(index))
    stopped = threading.Event()
    frames = read_live(capture, name, connect, lambda: _camera_hint(index), stopped, apart_seconds, gives_up)
    return FrameSource("camera", name, frames, live=True, fps=_plausible_fps(capture), stopped=stopped)


def _camera_hint(index: int) -> str:
    cameras = list_cameras()
    if cameras is None:
        return "is it connected, and may this program use it? Another: --source 1; a file: --source FILE"
    if not cameras:
        return "no /dev/video* on this machine: connect a camera, or give a video: --source FILE"
    if index in [camera.index for camera in cameras]:
        device = Path(f"/dev/video{index}")
        if not os.access(device, os.R_OK | os.W_OK):
            return f"you may not read {device}: join the group 'video' and log in again"
        return "another program may be using it"
    return "cameras here: " + ", ".join(f"{camera.index} ({camera.name})" for camera in cameras)


def _open_stream(address: StreamAddress, apart_seconds: float, gives_up: bool) -> FrameSource:
    name = address.shown
    milliseconds = int(_NETWORK_SECONDS * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]

    def connect() -> Any:
        return cv2.VideoCapture(address.url, cv2.CAP_FFMPEG, limits)

    def hint() -> str:
        return _network_hint(address.host, address.port)

    capture = connect()
    if not capture.isOpened():
        raise SourceError(f"cannot open {name}", hint())
    fps, count = _plausible_fps(capture), _frame_count(capture)
    if _has_length(capture):  # a recording behind a URL has a length, and is not skipped through either
        recorded = read_recording(capture, name, fps, count, apart_seconds)
        return FrameSource("stream", name, recorded, fps=fps, count=count)
    stopped = threading.Event()
    frames = read_live(capture, name, connect, hint, stopped, apart_seconds, gives_up)
    return FrameSource("stream", name, frames, live=True, fps=fps, stopped=stopped)


def _network_hint(host: str, port: int) -> str:
    try:
        socket.create_connection((host, port), _NETWORK_SECONDS).close()
    except (OSError, UnicodeError) as error:  # the latter of a name that no host can have
        return f"{host}:{port} does not answer: {error}"
    return f"{host}:{port} answers, but with no video there: check the path, user and password"


def _open_video(path: Path, apart_seconds: float) -> FrameSource:
    with native_path(path) as text:
        capture = cv2.VideoCapture(text)
    if not capture.isOpened():
        hint = f"FFmpeg reads .mp4 (unless cut off), .avi, .mkv and others; images: {', '.join(IMAGE_SUFFIXES)}"
        raise SourceError(f"{path} is no video that can be decoded", hint)
    fps, count = _plausible_fps(capture), _frame_count(capture)
    frames = read_recording(capture, path.name, fps, count, apart_seconds)
    return FrameSource("video", path.name, frames, fps=fps, count=count, path=path)


def _plausible_fps(capture: Any) -> float | None:
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0 < fps < _UNIT_OF_TIME else None


def _frame_count(capture: Any) -> int | None:
    is_of_frames = float(capture.get(cv2.CAP_PROP_FPS)) < _UNIT_OF_TIME  # else it is a length in that unit
    return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if _has_length(capture) and is_of_frames else None


def _has_length(capture: Any) -> bool:
    return 0 < float(capture.get(cv2.CAP_PROP_FRAME_COUNT)) < 1e9


def _open_folder(folder: Path) -> FrameSource:
    paths = images_in(folder)
    return FrameSource(
        "folder", folder.name or str(folder), _read_images(paths, skip=True), count=len(paths), path=folder
    )


def _read_images(paths: list[Path], skip: bool) -> Generator[Frame, None, None]:
    readable = 0
    for index, path in enumerate(paths):
        try:
            image_rgb = read_image(path)
        except UnusableImageError as error:
            if not skip:
                raise SourceError(error.message, "open it in an image viewer") from None
            logger.warning("skipped: %s", error.message)
            continue
        readable += 1
        yield Frame(index, image_rgb, path.name, 0.0)
    if 0 < readable < len(paths):
        logger.warning("%d of %d images could not be read", len(paths) - readable, len(paths))
    if not readable:
        raise SourceError(f"no image in {paths[0].parent} can be decoded", "open one in an image viewer")


def _silence_opencv() -> None:
    # OpenCV and FFmpeg write to stderr what our own errors say better; the user's own setting of either stays
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # Windows' camera layer otherwise spends half a minute looking for hardware transforms
    os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # OpenCV 4, and 5
        set_log_level = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel
        set_log_level(0)
