import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.errors import SourceError
from fcoslite.inference.input import captures
from fcoslite.inference.input import open as open_module
from fcoslite.inference.input.captures import read_live
from fcoslite.inference.input.frame_source import Frame
from fcoslite.inference.input.open import open_source
from tests.streams import MjpegCamera, NetworkCamera, RtspCamera, jpeg, number_of, numbered

MjpegCameras = Callable[..., MjpegCamera]


@pytest.fixture(params=["http", "rtsp"])
def camera(request: pytest.FixtureRequest, mjpeg_camera: MjpegCameras, rtsp_video: Path) -> Iterator[NetworkCamera]:
    """One that goes on for as long as it lives."""
    if request.param == "http":
        yield mjpeg_camera(10**6)
    else:
        rtsp = RtspCamera(rtsp_video)
        yield rtsp
        rtsp.die()


def next_after(arriving: Iterator[Frame], index: int) -> Frame:
    return next(frame for frame in arriving if frame.index > index)


def test_a_server_that_dies_and_returns(camera: NetworkCamera, messages: pytest.LogCaptureFixture) -> None:
    with open_source(camera.url) as source:
        arriving = iter(source)
        frame = next(arriving)
        for _ in range(3):
            before = next_after(arriving, frame.index + 3)
            camera.die()
            threading.Timer(0.2, camera.start).start()
            # what was on its way when it died may still come
            frame = next_after(arriving, before.index + 30)
            assert frame.seconds > before.seconds + 0.2
            assert frame.image_rgb.shape == (240, 320, 3)
    lost, back = messages.text.count("is lost after"), messages.text.count("is back after")
    assert lost == back >= 3


def test_a_server_that_stays_away(camera: NetworkCamera, messages: pytest.LogCaptureFixture) -> None:
    with open_source(camera.url) as source:
        arriving = iter(source)
        next(arriving)
        camera.die()
        with pytest.raises(SourceError, match="stayed away") as caught:
            list(arriving)
    assert "does not answer" in caught.value.hint
    assert messages.text.count("is lost after") == 1


def test_a_server_that_falls_silent(mjpeg_camera: MjpegCameras, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_module, "_NETWORK_SECONDS", 1.5)
    camera = mjpeg_camera(20, stall=30)
    with open_source(camera.url) as source, pytest.raises(SourceError, match="lost after 20 frames"):
        list(source)


@pytest.mark.parametrize(
    ("gives_up", "expected"),
    [(True, [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0]), (False, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])],
)
def test_the_pauses_between_attempts_double(
    gives_up: bool, expected: list[float], video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return len(pauses) == len(expected)

    monkeypatch.setattr(captures, "_FIRST_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(captures, "GIVE_UP_SECONDS", 30.0)
    unplugged = cv2.VideoCapture(str(video))
    read = read_live(unplugged, "camera 0", cv2.VideoCapture, str, Stopped(), gives_up=gives_up)
    assert len(list(read)) == 24
    assert pauses == expected


def test_a_server_that_is_waited_for(
    mjpeg_camera: MjpegCameras, messages: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "GIVE_UP_SECONDS", 0.0)
    camera = mjpeg_camera(10**6)
    with open_source(camera.url, gives_up=False) as source:
        arriving = iter(source)
        before = next(arriving)
        camera.die()
        threading.Timer(1.5, camera.start).start()  # attempts fail meanwhile
        assert next_after(arriving, before.index + 30)
    assert messages.text.count("trying again until it is back") == 1


def test_frames_that_are_near_to_the_one_before_are_left_out(
    video: Path, mjpeg_camera: MjpegCameras, messages: pytest.LogCaptureFixture
) -> None:
    with open_source(str(video), apart_seconds=0.25) as source:  # of 12 a second
        seen = list(source)
    assert [frame.index for frame in seen] == [number_of(frame.image_rgb) for frame in seen] == list(range(0, 24, 3))
    assert [frame.seconds for frame in seen] == pytest.approx([index / 12 for index in range(0, 24, 3)])
    with open_source(mjpeg_camera(10**6).url, apart_seconds=0.2) as source:
        times = [frame.seconds for frame, _ in zip(source, range(5), strict=False)]
    assert min(np.diff(times)) >= 0.2
    assert not messages.text


def test_a_camera_that_is_unplugged_and_plugged_in(video: Path) -> None:
    # there is no camera here; a video that ends stands in for one, and nothing opened for its absence
    devices = iter([cv2.VideoCapture(), cv2.VideoCapture(str(video))])
    camera = read_live(
        cv2.VideoCapture(str(video)),
        "camera 0",
        lambda: next(devices, cv2.VideoCapture()),
        lambda: "plug it in",
        threading.Event(),
    )
    seen = []
    with pytest.raises(SourceError, match="camera 0 was lost after 48 frames") as caught:
        seen.extend(camera)
    assert caught.value.hint == "plug it in"
    assert [frame.index for frame in seen] == list(range(48))
    assert [number_of(frame.image_rgb) for frame in seen] == 2 * list(range(24))


def test_a_camera_without_a_picture() -> None:
    with pytest.raises(SourceError, match="camera 0 gives no picture") as caught:
        next(read_live(cv2.VideoCapture(), "camera 0", cv2.VideoCapture, lambda: "is it busy?", threading.Event()))
    assert caught.value.hint == "is it busy?"


def test_closing_ends_a_pause(mjpeg_camera: MjpegCameras, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "_FIRST_PAUSE_SECONDS", 10**6)
    lost = threading.Event()
    monkeypatch.setattr(captures.logger, "warning", lambda *arguments: lost.set())
    with open_source(mjpeg_camera(5).url) as source:
        assert lost.wait(30)
    assert source.name not in [thread.name for thread in threading.enumerate()]
    assert not any(thread.name == "fcoslite-stream" for thread in threading.enumerate())


def damaged(kind: str, picture: bytes) -> bytes:
    chance = np.random.default_rng(0)
    return {
        "noise": chance.bytes(5000),
        "nothing": b"",
        "text": b"<html>500 Internal Server Error</html>",
        "half": picture[: len(picture) // 2],
        "noise in the middle": picture[:600] + chance.bytes(2000) + picture[2600:],
    }[kind]


@pytest.mark.parametrize("kind", ["noise", "nothing", "text", "half", "noise in the middle"])
def test_damaged_pictures_of_a_stream_are_left_out(
    kind: str, photograph: np.ndarray, messages: pytest.LogCaptureFixture
) -> None:
    def part(number: int) -> bytes:
        picture = jpeg(numbered(photograph, number % 30))
        return damaged(kind, picture) if number % 30 in range(10, 20) else picture

    camera = MjpegCamera(part, 0.005)
    with closing(open_source(camera.url)) as source:
        for frame in source:
            if frame.index % 30 not in range(10, 20):
                assert number_of(frame.image_rgb) == frame.index % 30
            if frame.index > 100:
                break
    camera.die()
    assert "lost" not in messages.text


def test_a_damaged_frame_of_a_video_is_left_out(
    video: Path, tmp_path: Path, messages: pytest.LogCaptureFixture
) -> None:
    content = video.read_bytes()
    starts = [start for start in range(content.index(b"movi"), len(content)) if content[start : start + 4] == b"00dc"]
    content = content[: starts[7] + 8] + bytes(starts[8] - starts[7] - 8) + content[starts[8] :]
    (tmp_path / "hurt.avi").write_bytes(content)
    with open_source(str(tmp_path / "hurt.avi")) as source:
        seen = list(source)
    assert [number_of(frame.image_rgb) for frame in seen] == [*range(7), *range(8, 24)]
    # FFmpeg decodes in threads, and tells of the damage some frames early
    assert [frame.index for frame in seen[8:]] == list(range(9, 24))
    assert seen[-1].seconds == pytest.approx(23 / 12)
    assert "1 of 24 frames are damaged" in messages.text


def test_a_stream_that_changes_its_size(photograph: np.ndarray) -> None:
    sizes = [(320, 240), (640, 480), (160, 120)]
    camera = MjpegCamera(lambda number: jpeg(cv2.resize(numbered(photograph, number % 30), sizes[number // 20 % 3])))
    with open_source(camera.url) as source:
        for frame in source:
            assert frame.image_rgb.shape == (240, 320, 3)  # OpenCV's doing, until it is opened again
            assert number_of(frame.image_rgb) == frame.index % 30
            if frame.index > 100:
                break
        camera.die()
        camera.part = lambda number: jpeg(cv2.resize(photograph, (640, 480)))
        camera.start()
        patience = time.monotonic() + 60
        while next(iter(source)).image_rgb.shape != (480, 640, 3):
            assert time.monotonic() < patience
    camera.die()
