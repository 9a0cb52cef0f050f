import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcoslite.data.images import read_image
from fcoslite.detections.detections import Detections
from fcoslite.detections.draw import draw_detections
from fcoslite.errors import SourceError
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference import detect
from fcoslite.inference.detect import FrameResult, Predicts
from fcoslite.inference.input import captures, frame_source
from fcoslite.inference.input.frame_source import Frame, FrameSource
from fcoslite.inference.input.open import open_source
from fcoslite.inference.live import FpsMeter, run_live
from fcoslite.inference.output.plan import Output
from fcoslite.progress import Advance
from tests.streams import MjpegCamera, number_of

Finder = Callable[..., Predicts]
MjpegCameras = Callable[..., MjpegCamera]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_video_end_to_end(video: Path, tmp_path: Path, centre_finder: Finder) -> None:
    predictor = centre_finder()
    advanced: list[int] = []

    @contextmanager
    def progress(title: str, total: int | None, unit: str) -> Iterator[Advance]:
        assert (total, unit) == (24, "frames")

        def advance(amount: int = 1, note: str = "") -> None:
            assert "FPS" in note
            advanced.append(amount)

        yield advance

    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    with open_source(str(video)) as source:
        result = run_live(source, predictor, Output(save=save, jsonl=jsonl), progress=progress)
    assert predictor.seen == list(range(24))  # type: ignore[attr-defined]
    assert (result.frames, result.detections, result.stopped_by) == (24, 24, "end")
    assert result.mean_fps == pytest.approx(24 / result.seconds)
    assert sum(advanced) == 24
    assert json.loads(json.dumps(result.document(), default=str))["save"] == str(save)
    records = lines(jsonl)
    assert [record["frame"] for record in records] == list(range(24))
    assert records[6] == {
        "frame": 6,
        "seconds": 0.5,
        "name": "walk.avi",
        "detections": [{"bbox": [80.0, 60.0, 160.0, 120.0], "score": 0.512, "class": "person"}],
    }
    with open_source(str(save)) as saved:
        assert (saved.fps, saved.count) == (12.0, 24)
        drawn = next(iter(saved)).image_rgb.astype(int)
    side = drawn[70:170, 79:82].mean(axis=(0, 1))  # the box's left side is green
    assert side[1] > side[0] + 40 and side[1] > side[2] + 40


class TwoAtOnce:
    """A model that is given two images at a time; those with an odd number take longer."""

    image_size = 64
    at_once = 2

    def __init__(self, predictor: Predicts) -> None:
        self._predictor = predictor
        self._busy = 0
        self.most = 0
        self._lock = threading.Lock()

    def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
        with self._lock:
            self._busy += 1
            self.most = max(self.most, self._busy)
        time.sleep(0.02 * (1 + number_of(image_rgb) % 2))
        with self._lock:
            self._busy -= 1
        return self._predictor.predict(image_rgb)


def test_two_frames_at_a_time_stay_in_order(video: Path, tmp_path: Path, centre_finder: Finder) -> None:
    predictor = TwoAtOnce(centre_finder())
    with open_source(str(video)) as source:
        result = run_live(source, predictor, Output(save=tmp_path / "a.mp4", jsonl=tmp_path / "a.jsonl"))
    assert predictor.most == 2
    assert (result.frames, result.stopped_by) == (24, "end")
    assert [record["frame"] for record in lines(tmp_path / "a.jsonl")] == list(range(24))
    with open_source(str(tmp_path / "a.mp4")) as saved:
        assert saved.count == 24
    with open_source(str(video)) as source:
        result = run_live(source, predictor, Output(), max_frames=5)
    assert (result.frames, result.stopped_by) == (5, "limit")


def test_a_live_source_is_seen_one_at_a_time(mjpeg_camera: MjpegCameras, centre_finder: Finder) -> None:
    predictor = TwoAtOnce(centre_finder())
    with open_source(mjpeg_camera(10**6).url) as source:
        assert run_live(source, predictor, Output(), max_frames=8).frames == 8
    assert predictor.most == 1


def test_the_number_of_frames_can_be_limited(video: Path, centre_finder: Finder) -> None:
    with open_source(str(video)) as source:
        result = run_live(source, centre_finder(), Output(), max_frames=5)
    assert (result.frames, result.stopped_by, result.save, result.jsonl) == (5, "limit", None, None)


def test_a_folder_of_images_is_drawn_without_a_frame_rate(folder: Path, tmp_path: Path, centre_finder: Finder) -> None:
    with open_source(str(folder)) as source:
        result = run_live(source, centre_finder(), Output(save=tmp_path / "drawn", jsonl=tmp_path / "x.jsonl"))
    assert result.frames == 3
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.jpg", "b.PNG", "c.jpeg"]
    before, after = read_image(folder / "b.PNG"), read_image(tmp_path / "drawn" / "b.PNG")
    assert (before != after).any()
    np.testing.assert_array_equal(before[200:], after[200:])
    assert [record["name"] for record in lines(tmp_path / "x.jsonl")] == ["a.jpg", "b.PNG", "c.jpeg"]


def test_a_lost_stream_ends_the_run_and_what_was_saved_plays(
    mjpeg_camera: MjpegCameras, tmp_path: Path, centre_finder: Finder, messages: pytest.LogCaptureFixture
) -> None:
    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    with pytest.raises(SourceError, match="stayed away"), open_source(mjpeg_camera(20, 0.02).url) as source:
        run_live(source, centre_finder(), Output(save=save, jsonl=jsonl))
    records = lines(jsonl)
    assert records[-1]["frame"] == 19
    assert f"stopped after {len(records)} frames; what was saved is complete" in messages.text
    with open_source(str(save)) as saved:
        assert len(list(saved)) >= len(records) // 2  # as long as it took


def test_ctrl_c_while_a_stream_is_lost(
    mjpeg_camera: MjpegCameras,
    tmp_path: Path,
    centre_finder: Finder,
    messages: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(captures, "GIVE_UP_SECONDS", 10**6)
    monkeypatch.setattr(captures, "_FIRST_PAUSE_SECONDS", 10**6)

    def interrupt_once_lost() -> None:
        while "is lost" not in messages.text:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt_once_lost, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), open_source(mjpeg_camera(20).url) as source:
        run_live(source, centre_finder(), Output(save=tmp_path / "out.mp4"))
    with open_source(str(tmp_path / "out.mp4")) as saved:
        assert list(saved)


def test_a_slow_model_sees_the_present(mjpeg_camera: MjpegCameras, centre_finder: Finder) -> None:
    camera = mjpeg_camera(10**6, 0.02)
    predictor = centre_finder(0.2)
    behind: list[int] = []

    class Watches:
        image_size = 64
        at_once = 1

        def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
            newest = (camera.sent - 1) % 30
            behind.append((newest - number_of(image_rgb)) % 30)
            return predictor.predict(image_rgb)

    with open_source(camera.url) as source:
        result = run_live(source, Watches(), Output(), max_frames=15)
    assert camera.sent > 15 * 5
    # numbers repeat after 30: a queue that grew would put the pictures anywhere among them
    assert result.frames == len(behind) == 15
    assert sorted(behind)[10] < 8


class _Stops:
    def __init__(self, predictor: Predicts, after: int, error: BaseException) -> None:
        self._predictor = predictor
        self._left = after
        self._error = error

    image_size = 64
    at_once = 1

    def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
        if self._left == 0:
            raise self._error
        self._left -= 1
        return self._predictor.predict(image_rgb)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("model")])
def test_files_are_complete_when_a_run_breaks_off(
    error: BaseException,
    video: Path,
    tmp_path: Path,
    centre_finder: Finder,
    messages: pytest.LogCaptureFixture,
) -> None:
    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    with pytest.raises(type(error)), open_source(str(video)) as source:
        run_live(source, _Stops(centre_finder(), 7, error), Output(save=save, jsonl=jsonl))
    assert len(lines(jsonl)) == 7
    with open_source(str(save)) as saved:
        assert len(list(saved)) == 7
    assert ("after 7 frames" in messages.text) == isinstance(error, KeyboardInterrupt)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux")
def test_a_full_disk_ends_the_run(video: Path, tmp_path: Path, centre_finder: Finder) -> None:
    with pytest.raises(OSError, match="No space left"), open_source(str(video)) as source:
        run_live(source, centre_finder(), Output(save=tmp_path / "out.mp4", jsonl=Path("/dev/full")))


def _growing() -> Generator[Frame, None, None]:
    for index, size in enumerate(((96, 128), (192, 256), (100, 60))):
        yield Frame(index, np.full((*size, 3), 50, np.uint8), "growing", index / 10)


def test_a_source_that_changes_its_size(tmp_path: Path, centre_finder: Finder) -> None:
    with FrameSource("video", "growing", _growing(), fps=10.0) as source:
        run_live(source, centre_finder(), Output(save=tmp_path / "out.avi", jsonl=tmp_path / "out.jsonl"))
    with open_source(str(tmp_path / "out.avi")) as saved:
        assert [frame.image_rgb.shape for frame in saved] == [(96, 128, 3)] * 3
    boxes = [record["detections"][0]["bbox"] for record in lines(tmp_path / "out.jsonl")]  # type: ignore[index]
    assert boxes[1] == [64.0, 48.0, 128.0, 96.0]  # in the pixels of its own frame


class _Screen:
    """A window whose user presses q at the third image."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, ...]] = []
        self.closed = False

    def show(self, result: FrameResult) -> bool:
        self.shown.append(result.draw().shape)
        return len(self.shown) < 3

    def idle(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def test_the_user_ends_it(video: Path, tmp_path: Path, centre_finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def counted(image_rgb: np.ndarray, *others: Any) -> np.ndarray:
        drawn.append(number_of(image_rgb))
        return draw_detections(image_rgb, *others)

    monkeypatch.setattr(detect, "draw_detections", counted)
    screen = _Screen()
    with open_source(str(video)) as source:
        result = run_live(source, centre_finder(), Output(save=tmp_path / "out.avi"), screen)
    assert (result.frames, result.stopped_by) == (3, "key")
    assert screen.closed and screen.shown == [(240, 320, 3)] * 3
    assert sorted(drawn) == [0, 1, 2]  # once for the screen and the file
    with open_source(str(tmp_path / "out.avi")) as saved:
        assert saved.count == 3


class _IdleScreen(_Screen):
    """A window whose user presses q while it waits."""

    def idle(self) -> bool:
        return not self.shown


def test_the_user_ends_it_while_nothing_comes(
    mjpeg_camera: MjpegCameras, centre_finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_source(mjpeg_camera(3, stall=30).url) as source:
        monkeypatch.setattr(frame_source, "_JOIN_SECONDS", 0.1)
        result = run_live(source, centre_finder(), Output(), _IdleScreen())
    assert result.stopped_by == "key"


def test_the_frame_rate_is_that_of_the_last_ten_frames() -> None:
    times = iter([0.0, 0.5, *(0.5 + 0.1 * n for n in range(1, 16))])
    meter = FpsMeter(clock=lambda: next(times))
    assert meter.tick() == pytest.approx(2.0)
    assert meter.tick() == pytest.approx(2 / 0.6)
    rates = [meter.tick() for _ in range(14)]
    assert rates[7] == pytest.approx(10 / 1.4)  # the first, slow frame is still among the ten
    assert rates[8:] == pytest.approx([10.0] * 6)


def test_frames_come_letterboxed_from_the_reading_thread(centre_finder: Finder, video: Path) -> None:
    given: list[tuple[np.ndarray, np.ndarray | None]] = []
    inner = centre_finder()

    class Watches:
        image_size = 64
        at_once = 1

        def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
            given.append((image_rgb, letterboxed))
            return inner.predict(image_rgb)

    with open_source(str(video)) as source:
        run_live(source, Watches(), Output())
    # those read before the model was ready have none, and the predictor makes it itself
    assert sum(letterboxed is not None for _, letterboxed in given) >= len(given) - 6
    for image_rgb, letterboxed in given:
        expected = Letterbox.square(*image_rgb.shape[:2], 64).apply_image(image_rgb)
        assert letterboxed is None or np.array_equal(letterboxed, expected)
