"""Tiny videos and a streaming server, made of the embedded photographs at test time."""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.detections.detections import Detections
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.input import captures
from tests.streams import MjpegCamera, jpeg, number_of, numbered, write_transport_stream

VIDEO_FRAMES = 24


class FindsTheCentre:
    """A model that always sees one person, in the middle half of the image."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.seen: list[int] = []

    at_once = 1

    def letterbox(self, height: int, width: int) -> Letterbox:
        return Letterbox.square(height, width, 64)

    def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
        time.sleep(self.seconds)
        self.seen.append(number_of(image_rgb))
        height, width = image_rgb.shape[:2]
        box = np.array([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]], np.float32)
        return Detections(box, np.array([0.512], np.float32), np.array([1], np.int32), ("person",))


@pytest.fixture(name="number_of", scope="session")
def _number_of() -> Callable[[np.ndarray], int]:
    """Reads the number back, RGB."""
    return number_of


@pytest.fixture
def centre_finder() -> Callable[..., FindsTheCentre]:
    """Call it with the seconds it takes for an image."""
    return FindsTheCentre


@pytest.fixture(scope="session")
def photograph(demo_data: Path) -> np.ndarray:
    """BGR, 320 x 240."""
    path = sorted((demo_data / "images").glob("*.jpg"))[0]
    return cv2.resize(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR), (320, 240))


@pytest.fixture(scope="session")
def video(photograph: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (320, 240))
    for number in range(VIDEO_FRAMES):
        writer.write(numbered(photograph, number))
    writer.release()
    return path


@pytest.fixture
def folder(photograph: np.ndarray, tmp_path: Path) -> Path:
    """Three photographs whose names sort as their numbers, among files that are none."""
    path = tmp_path / "photographs"
    path.mkdir()
    for number, name in enumerate(("a.jpg", "b.PNG", "c.jpeg")):
        suffix = Path(name).suffix.lower()
        (path / name).write_bytes(cv2.imencode(suffix, numbered(photograph, number))[1].tobytes())
    (path / "notes.txt").write_text("no image")
    (path / "._a.jpg").write_bytes(b"what macOS leaves behind")
    return path


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The library's messages, also where a command before has taken them over."""
    logger = logging.getLogger("fcoslite")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.setLevel(level)
    logger.propagate = propagate


@pytest.fixture(scope="session")
def rtsp_video(photograph: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of transport stream."""
    path = tmp_path_factory.mktemp("rtsp") / "camera.ts"
    write_transport_stream(path, (numbered(photograph, number % 30) for number in range(750)))
    return path


MjpegCameras = Callable[..., MjpegCamera]


@pytest.fixture
def mjpeg_camera(photograph: np.ndarray) -> Iterator[MjpegCameras]:
    """Call it with a number of pictures, after which every connection ends, and the seconds between them."""
    cameras: list[MjpegCamera] = []

    def serve(pictures: int, seconds: float = 0.01, stall: float = 0.0) -> MjpegCamera:
        parts = [jpeg(numbered(photograph, number)) for number in range(30)]
        cameras.append(MjpegCamera(lambda number: [parts[number % 30]][number // pictures], seconds, stall))
        return cameras[-1]

    yield serve
    for camera in cameras:
        camera.die()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is given up within a second."""
    monkeypatch.setattr(captures, "_FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(captures, "GIVE_UP_SECONDS", 1.0)
