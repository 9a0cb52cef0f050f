"""Tiny videos and a streaming server, made of the embedded photographs at test time."""

import http.server
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.detections import Detections

VIDEO_FRAMES = 24


def numbered(photograph_bgr: np.ndarray, number: int) -> np.ndarray:
    """The photograph with its number as the brightness of the upper left corner."""
    image = photograph_bgr.copy()
    image[:64, :64] = 8 * number + 4
    return image


def number_of(image_rgb: np.ndarray) -> int:
    return int(image_rgb[8:56, 8:56].mean() // 8)


class FindsTheCentre:
    """A model that always sees one person, in the middle half of the image."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.seen: list[int] = []

    def predict(self, image_rgb: np.ndarray) -> Detections:
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


Stream = Callable[..., str]


@pytest.fixture
def mjpeg_stream(photograph: np.ndarray) -> Iterator[Stream]:
    """Call it with a number of frames and the seconds between them; returns the URL of such a stream."""
    servers: list[http.server.ThreadingHTTPServer] = []
    released = threading.Event()

    def serve(frames: int, seconds: float, stall: bool = False) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/camera":
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    for number in range(frames):
                        jpeg = cv2.imencode(".jpg", numbered(photograph, number % 30))[1].tobytes()
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                        time.sleep(seconds)
                    if stall:
                        released.wait(30)
                except OSError:
                    pass  # the reader has left

            def log_message(self, *arguments: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/camera"

    yield serve
    released.set()
    for server in servers:
        server.shutdown()
        server.server_close()
