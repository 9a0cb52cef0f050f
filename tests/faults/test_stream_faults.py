"""Streams that die, damaged pictures, cut-off videos, full disks and kills, on `fcoslite webcam`, many times over."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.cli.app import run
from fcoslite.detections.detections import Detections
from fcoslite.errors import SourceError
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.input import captures
from fcoslite.inference.input.captures import read_live
from fcoslite.inference.input.frame_source import FrameSource
from fcoslite.inference.live import run_live
from fcoslite.inference.output.plan import Output
from fcoslite.storage import space
from tests.disks import SmallDisk
from tests.faults.processes import PATIENCE, report
from tests.streams import MjpegCamera, NetworkCamera, RtspCamera, jpeg, number_of, numbered, write_transport_stream

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

SIZES = [(320, 240), (640, 480), (160, 120)]


class Nobody:
    """A model in whose eyes there is never anyone.

    Args:
        seconds: It takes for an image.
    """

    at_once = 1

    def letterbox(self, height: int, width: int) -> Letterbox:
        return Letterbox.square(height, width, 64)

    device = "nothing"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.seen: list[int] = []

    def warm_up(self) -> None:
        pass

    def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
        self.seen.append(number_of(image_rgb))
        time.sleep(self.seconds)
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ("person",))


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command, but for the network; what is lost is given up within a second."""
    module = types.ModuleType("fcoslite.inference.predictor")
    module.Predictor = types.SimpleNamespace(load=lambda *arguments: Nobody())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fcoslite.inference.predictor", module)
    monkeypatch.setattr(captures, "_FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(captures, "GIVE_UP_SECONDS", 0.5)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def photograph(demo_data: Path) -> np.ndarray:
    path = sorted((demo_data / "images").glob("*.jpg"))[0]
    return cv2.resize(cv2.imread(str(path)), (320, 240))


@pytest.fixture(scope="module")
def pictures(photograph: np.ndarray) -> list[bytes]:
    return [jpeg(numbered(photograph, number)) for number in range(30)]


@contextmanager
def alive(camera: NetworkCamera) -> Iterator[NetworkCamera]:
    try:
        yield camera
    finally:
        camera.die()


def frames_of(path: Path) -> int:
    video, count = cv2.VideoCapture(str(path)), 0
    while video.read()[0]:
        count += 1
    return count


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def wait_for_more(path: Path, process: "subprocess.Popen[str]", amount: int = 3) -> None:
    """Until the process has written so many lines more."""
    wanted = len(lines(path)) + amount
    patience = time.monotonic() + PATIENCE
    while len(lines(path)) < wanted:
        assert process.poll() is None and time.monotonic() < patience, process.communicate()[0]
        time.sleep(0.05)


def restart(camera: NetworkCamera, jsonl: Path, process: "subprocess.Popen[str]", times: int) -> None:
    for _ in range(times):
        camera.die()
        time.sleep(0.2)
        camera.start()
        wait_for_more(jsonl, process)


# The command as it is, but for the network, whose loading would take most of the time.
WEBCAM = """
import sys
import types
import numpy as np
from fcoslite.cli.app import main
from fcoslite.detections.detections import Detections
from fcoslite.geometry.letterbox import Letterbox

class Nobody:
    load = classmethod(lambda cls, *arguments: cls())
    warm_up = lambda self: None
    device = "nothing"
    at_once = 1

    def letterbox(self, height: int, width: int) -> Letterbox:
        return Letterbox.square(height, width, 64)

    def predict(self, image_rgb, letterboxed=None):
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ("person",))

sys.modules["fcoslite.inference.predictor"] = types.ModuleType("predictor")
sys.modules["fcoslite.inference.predictor"].Predictor = Nobody
main(["webcam", "--source", sys.argv[1], "--no-window", "--save", sys.argv[2], "--jsonl", "out.jsonl", "--overwrite"])
"""


def webcam(source: str, save: str, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WEBCAM, source, save]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_an_mjpeg_stream_with_every_fault(tmp_path: Path, photograph: np.ndarray, pictures: list[bytes]) -> None:
    chance = np.random.default_rng(0)
    hurt: dict[str, Callable[[bytes], bytes]] = {
        "noise": lambda picture: chance.bytes(5000),
        "nothing": lambda picture: b"",
        "no picture": lambda picture: b"<html>500 Internal Server Error</html>",
        "cut off": lambda picture: picture[: len(picture) // 2],
        "noise within": lambda picture: picture[:600] + chance.bytes(2000) + picture[2600:],
    }
    with alive(MjpegCamera(lambda number: pictures[number % 30], 0.02)) as camera:
        process = webcam(camera.url, "out.mp4", tmp_path)
        jsonl = tmp_path / "out.jsonl"
        wait_for_more(jsonl, process)
        restart(camera, jsonl, process, times=10)
        for damage in hurt.values():
            camera.part = lambda number, damage=damage: (  # type: ignore[misc]
                damage(pictures[number % 30]) if number % 20 < 10 else pictures[number % 30]
            )
            sent = camera.sent
            while camera.sent < sent + 40:
                time.sleep(0.05)
            wait_for_more(jsonl, process)
        for number in range(10):
            resized = jpeg(cv2.resize(photograph, SIZES[number % 3]))
            camera.part = lambda number, resized=resized: resized  # type: ignore[misc]
            if number % 2:
                camera.die()
                camera.start()
            wait_for_more(jsonl, process)
        camera.die()
        time.sleep(2.0)  # lost
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output
    assert output.count("is back after") >= 10 and "what was saved is complete" in output, output
    assert "Traceback" not in output
    assert frames_of(tmp_path / "out.mp4") >= len(lines(jsonl)) // 2
    report("HTTP MJPEG server dies and returns", 10, "what happened meanwhile", "the run went on")
    report("damaged pictures in a stream", 100, "those pictures", "the run went on")
    report("frame size changes in a stream", 10, "nothing", "the run went on")
    report("Ctrl-C while a stream is lost", 1, "nothing", "exit 130; the .mp4 plays")


def test_an_rtsp_server_dies_returns_and_stays_away(tmp_path: Path, photograph: np.ndarray) -> None:
    video = tmp_path / "camera.ts"
    write_transport_stream(video, (numbered(photograph, number % 30) for number in range(3000)))
    with alive(RtspCamera(video, 0.02)) as camera:
        process = webcam(camera.url, "out.avi", tmp_path)
        jsonl = tmp_path / "out.jsonl"
        wait_for_more(jsonl, process)
        restart(camera, jsonl, process, times=5)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, output
    assert output.count("is back after") >= 5 and "stayed away" in output and "does not answer" in output, output
    assert frames_of(tmp_path / "out.avi") >= len(lines(jsonl)) // 2
    report("RTSP server dies and returns", 5, "what happened meanwhile", "the run went on")
    report("RTSP server dies and stays away", 1, "nothing", "exit 1 after 30 s; what was saved plays")


def test_servers_that_stay_away(
    without_network: None, pictures: list[bytes], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number in range(5):
        suffix = (".mp4", ".avi")[number % 2]
        save = tmp_path / f"{number}{suffix}"
        with alive(MjpegCamera(lambda sent: pictures[:20][sent], 0.02)) as camera:
            assert run(["webcam", "--source", camera.url, "--no-window", "--save", str(save)]) == 1
        assert "stayed away" in capsys.readouterr().err
        assert frames_of(save) > 0
    report("HTTP MJPEG server stays away", 5, "nothing", "exit 1; what was saved plays")


def test_cameras(
    without_network: None, tmp_path: Path, pictures: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(93, 98):
        assert run(["webcam", "--source", str(index), "--no-window"]) == 1
        assert f"camera {index} cannot be opened" in capsys.readouterr().err
    report("absent camera", 5, "nothing", "exit 1, with what there is")
    video = tmp_path / "camera.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (320, 240))
    for picture in pictures:
        writer.write(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR))
    writer.release()
    for number in range(5):
        stopped = threading.Event()
        camera = read_live(cv2.VideoCapture(str(video)), "camera 0", cv2.VideoCapture, lambda: "plug it in", stopped)
        save = tmp_path / f"unplugged{number}.mp4"
        with pytest.raises(SourceError, match="lost"), FrameSource("camera", "camera 0", camera, live=True) as source:
            run_live(source, Nobody(), Output(save=save))
        assert frames_of(save) > 0
    report("unplugged camera (a video that ends stands in for it)", 5, "nothing", "an error; what was saved plays")


def test_a_slow_model(pictures: list[bytes]) -> None:
    with alive(MjpegCamera(lambda number: pictures[number % 30], 0.02)) as camera:
        from fcoslite.inference.input.open import open_source

        for seconds in (0.05, 0.1, 0.2, 0.3, 0.4):
            model, newest = Nobody(seconds), []
            with open_source(camera.url) as source:
                for frame in source:
                    newest.append((camera.sent - 1) % 30)
                    model.predict(frame.image_rgb)
                    if len(newest) == 10:
                        break
            behind = sorted((sent - seen) % 30 for sent, seen in zip(newest, model.seen, strict=True))
            assert behind[6] < 8
    report("slow model on a live stream", 5, "the pictures meanwhile", "each time the newest picture was seen")


def noise_video(path: Path, frames: int = 60) -> Path:
    chance = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (320, 240))
    for _ in range(frames):
        writer.write(chance.integers(0, 256, (240, 320, 3), np.uint8))
    writer.release()
    return path


def test_cut_off_and_damaged_videos(
    without_network: None, tmp_path: Path, photograph: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(0)
    for suffix, codec in ((".avi", "MJPG"), (".mp4", "mp4v")):
        whole = tmp_path / f"whole{suffix}"
        writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*codec), 25.0, (320, 240))
        for number in range(30):
            writer.write(numbered(photograph, number))
        writer.release()
        content = whole.read_bytes()
        for number in range(20):
            path = tmp_path / f"{number}{suffix}"
            if number < 10:
                path.write_bytes(content[: chance.randrange(len(content))])
            else:
                at = chance.randrange(len(content) - 500)
                path.write_bytes(content[:at] + chance.randbytes(500) + content[at + 500 :])
            code = run(["webcam", "--source", str(path), "--no-window", "--json"])
            printed = capsys.readouterr()
            assert code in (0, 1) and "Traceback" not in printed.err and "a bug" not in printed.err
            if code == 0 and number < 10:
                frames = json.loads(printed.out)["frames"]
                assert frames > 26 or "damaged or cut off" in printed.err
        report(
            f"{suffix} cut off at random", 10, "what is missing", "exit 0 with a warning, or exit 1 where none plays"
        )
        report(f"{suffix} with 500 random bytes", 10, "what is damaged", "exit 0; exit 1 if none plays")
        empty = tmp_path / f"empty{suffix}"
        cv2.VideoWriter(str(empty), cv2.VideoWriter.fourcc(*codec), 25.0, (320, 240)).release()
        assert run(["webcam", "--source", str(empty), "--no-window"]) == 1
    report("video without a frame", 2, "nothing", "exit 1")


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_full_disks(
    without_network: None, tmp_path: Path, small_disk: SmallDisk, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(noise_video(tmp_path / "in.avi"))
    command = ["webcam", "--source", source, "--no-window", "--save", str(small_disk.path / name)]
    for room in (50_000, 100_000, 200_000, 400_000, 800_000):
        small_disk.resize(space._SPARE_BYTES + room)
        assert run([*command, "--jsonl", str(small_disk.path / "out.jsonl")]) == 1
        assert "is full" in capsys.readouterr().err
        saved = lines(small_disk.path / "out.jsonl")
        assert 0 <= frames_of(small_disk.path / name) - len(saved) <= 1
        for path in small_disk.path.iterdir():
            path.unlink()
    report(f"disk full while saving .{name[-3:]}", 5, "nothing that was saved", "exit 1; what was saved plays")


def test_killed_while_saving_an_avi(tmp_path: Path) -> None:
    source = str(noise_video(tmp_path / "in.avi", frames=1000))
    chance = random.Random(0)
    for _ in range(5):
        process = webcam(source, "out.avi", tmp_path)
        wait_for_more(tmp_path / "out.jsonl", process, 20 + chance.randrange(100))
        process.kill()
        process.communicate()
        saved = len(lines(tmp_path / "out.jsonl"))
        assert frames_of(tmp_path / "out.avi") >= saved - 8
        (tmp_path / "out.jsonl").unlink()
    report("SIGKILL while saving .avi", 5, "the last frames, 8 at most", "what was saved plays")
