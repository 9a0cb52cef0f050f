import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.data.images import read_image
from fcoslite.errors import SourceError
from fcoslite.inference.input import frame_source
from fcoslite.inference.input import open as open_module
from fcoslite.inference.input.cameras import Camera
from fcoslite.inference.input.frame_source import Frame, FrameSource
from fcoslite.inference.input.open import open_source
from tests.streams import MjpegCamera

NumberOf = Callable[[np.ndarray], int]
MjpegCameras = Callable[..., MjpegCamera]


def test_a_video_is_read_whole_in_order_however_slow_the_reader(video: Path, number_of: NumberOf) -> None:
    with open_source(str(video)) as source:
        assert (source.kind, source.live, source.still) == ("video", False, False)
        assert (source.fps, source.count) == (12.0, 24)
        assert (source.width, source.height) == (320, 240)
        assert "walk.avi" in source.describe()
        seen = []
        for frame in source:
            time.sleep(0.01)
            seen.append(frame)
    assert [frame.index for frame in seen] == [number_of(frame.image_rgb) for frame in seen] == list(range(24))
    assert seen[12].seconds == pytest.approx(1.0)
    assert {frame.name for frame in seen} == {"walk.avi"}


def test_colours_are_rgb(photograph: np.ndarray, video: Path, tmp_path: Path) -> None:
    still = tmp_path / "été.png"  # not ASCII
    cv2.imencode(".png", photograph)[1].tofile(still)
    np.testing.assert_array_equal(read_image(still), photograph[..., ::-1])
    with open_source(str(video)) as source:
        frame = next(iter(source))
    below = np.s_[64:, 64:]
    error = np.abs(frame.image_rgb[below].astype(int) - photograph[..., ::-1][below]).mean()
    assert error < np.abs(frame.image_rgb[below].astype(int) - photograph[below]).mean()
    assert error < 8


def test_a_folder_is_its_images_by_name(folder: Path, number_of: NumberOf) -> None:
    with open_source(str(folder)) as source:
        assert (source.kind, source.live, source.still, source.count, source.fps) == (
            "folder",
            False,
            True,
            3,
            None,
        )
        seen = list(source)
    assert [frame.name for frame in seen] == ["a.jpg", "b.PNG", "c.jpeg"]
    assert [number_of(frame.image_rgb) for frame in seen] == [0, 1, 2]


def test_a_damaged_image_in_a_folder_is_skipped_and_named(folder: Path, messages: pytest.LogCaptureFixture) -> None:
    (folder / "b.PNG").write_bytes(b"\x89PNG\r\n")
    with open_source(str(folder)) as source:
        assert [(frame.index, frame.name) for frame in source] == [(0, "a.jpg"), (2, "c.jpeg")]
    assert "b.PNG" in messages.text


def test_one_image(folder: Path) -> None:
    with open_source(str(folder / "a.jpg")) as source:
        assert (source.kind, source.count, source.still) == ("image", 1, True)
        assert [frame.image_rgb.shape for frame in source] == [(240, 320, 3)]


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_files_that_are_not_what_they_seem(content: bytes, tmp_path: Path) -> None:
    for name in ("x.jpg", "x.mp4"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=name) as caught:
            open_source(str(tmp_path / name))
        assert caught.value.hint
    (tmp_path / "x.mp4").unlink()
    with pytest.raises(SourceError, match="can be decoded"):
        open_source(str(tmp_path))


def test_what_is_not_there(video: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"wolk\.avi") as caught:
        open_source(str(video.with_name("wolk.avi")))
    assert "walk.avi" in caught.value.hint
    for text in ("", str(tmp_path / "nowhere" / "x.mp4")):
        with pytest.raises(SourceError, match="no file or folder"):
            open_source(text)
    with pytest.raises(SourceError, match="no image"):
        open_source(str(tmp_path))


def test_an_absent_camera_is_told_with_what_there_is() -> None:
    with pytest.raises(SourceError, match="camera 93") as caught:
        open_source("93")
    assert caught.value.hint


def test_opencv_and_ffmpeg_keep_quiet() -> None:
    # in a fresh process, since FFmpeg's log level is settled at its first use
    program = """
from fcoslite.errors import SourceError
from fcoslite.inference.input.open import open_source
from tests.streams import MjpegCamera
for text in ("93", "http://127.0.0.1:9/x", "rtsp://127.0.0.1:9/x"):
    try:
        open_source(text)
    except SourceError:
        print("told")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["told"] * 3
    assert done.stderr == ""


def test_a_cut_off_video_is_told(video: Path, tmp_path: Path, messages: pytest.LogCaptureFixture) -> None:
    content = video.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(content[: len(content) // 2])
    with open_source(str(cut)) as source:
        seen = len(list(source))
    assert 5 < seen < 20
    assert f"after {seen} of 24 frames" in messages.text


@pytest.mark.parametrize("name", ["empty.avi", "empty.mp4"])
def test_a_video_without_frames(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / name)
    codec = "MJPG" if name.endswith("avi") else "mp4v"
    cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*codec), 12.0, (320, 240)).release()
    with pytest.raises(SourceError, match=r"holds no frame|can be decoded") as caught:
        open_source(path)
    assert caught.value.hint


def test_a_camera_that_another_program_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    # there is no camera here to be busy, so only its presence is pretended
    monkeypatch.setattr(open_module, "list_cameras", lambda: [Camera(93, "Lid"), Camera(94, "USB camera")])
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    with pytest.raises(SourceError, match="camera 93 cannot be opened") as caught:
        open_source("93")
    assert "another program" in caught.value.hint
    with pytest.raises(SourceError) as caught:
        open_source("95")
    assert "93 (Lid), 94 (USB camera)" in caught.value.hint


def reading() -> bool:
    return any(thread.name == "fcoslite-stream" for thread in threading.enumerate())


def test_a_live_stream_gives_only_the_newest(mjpeg_camera: MjpegCameras, number_of: NumberOf) -> None:
    with open_source(mjpeg_camera(30).url) as source:
        assert (source.kind, source.live, source.count) == ("stream", True, None)
        arriving = iter(source)
        first = next(arriving)
        while reading():  # the consumer is busy until the last frame is out
            time.sleep(0.01)
        rest = []
        with pytest.raises(SourceError, match="lost after 30 frames"):
            rest.extend(arriving)
    assert first.index == number_of(first.image_rgb) < 29
    assert [(frame.index, number_of(frame.image_rgb)) for frame in rest] == [(29, 29)]
    assert rest[0].seconds > first.seconds >= 0


def test_leaving_a_stream_early_ends_its_thread(mjpeg_camera: MjpegCameras) -> None:
    with open_source(mjpeg_camera(10_000, 0.005).url) as source:
        next(iter(source))
    assert not reading()


def test_leaving_a_stalled_stream_returns(mjpeg_camera: MjpegCameras, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_source, "_JOIN_SECONDS", 0.1)
    with open_source(mjpeg_camera(3, stall=30).url) as source:
        assert any(frame.index == 2 for frame in source)
    assert reading()  # still waiting for the network's time-out, but nobody waits for it


def test_a_stream_that_cannot_be_reached(mjpeg_camera: MjpegCameras) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(SourceError) as caught:
        open_source(f"rtsp://user:secret@127.0.0.1:{port}/live?token=secret")
    assert f"127.0.0.1:{port}" in caught.value.message
    assert "does not answer" in caught.value.hint
    assert "secret" not in caught.value.message + caught.value.hint
    with pytest.raises(SourceError) as caught:
        open_source(mjpeg_camera(1).url + "-with-a-typo")
    assert "answers, but" in caught.value.hint
    for text in ("ftp://host/x", "http://", "C://x"):
        with pytest.raises(SourceError, match="no stream address"):
            open_source(text)


@pytest.fixture
def file_server(video: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(video.parent)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{video.name}"
    server.shutdown()
    server.server_close()


def test_a_recording_behind_a_url_is_not_skipped_through(file_server: str) -> None:
    with open_source(file_server) as source:
        assert (source.kind, source.live, source.count) == ("stream", False, 24)
        indices = []
        for frame in source:
            time.sleep(0.01)
            indices.append(frame.index)
    assert indices == list(range(24))


def _failing(frames: int) -> Generator[Frame, None, None]:
    for index in range(frames):
        yield Frame(index, np.zeros((4, 6, 3), np.uint8), "x", 0.0)
    raise SourceError("unplugged")


def test_a_reader_error_reaches_the_consumer_after_its_frames() -> None:
    with FrameSource("video", "x", _failing(3)) as source:
        seen = []
        with pytest.raises(SourceError, match="unplugged"):
            seen.extend(frame.index for frame in source)
    with pytest.raises(SourceError, match="unplugged"):
        FrameSource("video", "x", _failing(0))
    with pytest.raises(SourceError, match="no frame"):
        FrameSource("video", "x", (frame for frame in ()))


def test_an_unread_source_reads_ahead_only_a_little() -> None:
    taken: list[int] = []
    ended = threading.Event()

    def endless() -> Generator[Frame, None, None]:
        try:
            for index in range(10_000):
                taken.append(index)
                yield Frame(index, np.zeros((4, 6, 3), np.uint8), "x", 0.0)
        finally:
            ended.set()

    source = FrameSource("video", "x", endless())
    time.sleep(0.1)
    assert len(taken) <= 6
    source.close()
    assert ended.wait(5)  # the capture is released
    assert list(source) == []
