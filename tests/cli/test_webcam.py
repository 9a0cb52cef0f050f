import json
import os
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fcoslite.cli.app import run
from fcoslite.config.settings import DetectSettings, ModelSettings, Settings, WebcamSettings
from fcoslite.detections.detections import Detections
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.input.open import open_source
from fcoslite.runs.run import create_run
from fcoslite.storage.arrays import write_arrays

NEWEST = Path("runs/train-newest-001/checkpoints/best.npz")


def write_weights(path: Path) -> None:
    """A file that says what it is of, and holds no weights."""
    model = ModelSettings(classes=("person",)).model_dump(mode="json")
    write_arrays(path, {}, {"kind": "weights", "model": model})


class StandIn:
    """What the command asks of the real predictor, without a network."""

    loaded: list[tuple[Path, DetectSettings]]
    interrupt_at: int | None

    def __init__(self) -> None:
        self.warm = False
        self.predicted = 0

    @classmethod
    def load(cls, weights: Path, settings: DetectSettings, engine: str, many: bool) -> "StandIn":
        cls.loaded.append((weights, settings))
        return cls()

    def warm_up(self) -> None:
        self.warm = True

    at_once = 1

    def letterbox(self, height: int, width: int) -> Letterbox:
        return Letterbox.square(height, width, 64)

    device = "nothing"

    def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
        assert self.warm
        if self.predicted == self.interrupt_at:
            raise KeyboardInterrupt
        self.predicted += 1
        box = np.array([[1, 2, 31, 42]], np.float32)
        return Detections(box, np.array([0.5], np.float32), np.array([1], np.int32), ("person",))


@pytest.fixture(autouse=True)
def predictor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[StandIn]]:
    module = types.ModuleType("fcoslite.inference.predictor")
    module.Predictor = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fcoslite.inference.predictor", module)
    monkeypatch.setattr("fcoslite.inference.output.plan.has_display", lambda: False)
    monkeypatch.chdir(tmp_path)
    newest = create_run(Path("runs"), "train", "newest", Settings(), {})
    write_weights(newest.best_weights)
    StandIn.loaded = []
    StandIn.interrupt_at = None
    yield StandIn


@pytest.fixture
def images(demo_data: Path) -> Path:
    return demo_data / "images"


def test_images_end_to_end_as_json(images: Path, capsys: pytest.CaptureFixture[str], predictor: type[StandIn]) -> None:
    arguments = ["webcam", "--source", str(images), "--no-window", "--save", "drawn", "--jsonl", "found.jsonl"]
    assert run([*arguments, "--max-frames", "3", "--iou", "0.4", "--score", "0.1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["frames"] == document["detections"] == 3
    assert (document["stopped_by"], document["save"], document["jsonl"]) == ("limit", "drawn", "found.jsonl")
    assert len(list(Path("drawn").iterdir())) == len(Path("found.jsonl").read_text().splitlines()) == 3
    assert predictor.loaded == [(NEWEST, WebcamSettings(iou=0.4, score=0.1))]


def test_the_flags_defaults_are_those_of_the_settings(images: Path, predictor: type[StandIn]) -> None:
    assert run(["webcam", "--source", str(images), "--no-window", "--max-frames", "1"]) == 0
    assert predictor.loaded[0][1] == WebcamSettings()
    assert (WebcamSettings().iou, WebcamSettings().score) == (0.3, 0.2)


def test_a_table_without_json(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["webcam", "--source", str(images), "--no-window", "--max-frames", "2"]) == 0
    table = capsys.readouterr().out
    assert "frames" in table and "limit" in table


def test_lines_to_stdout_are_all_that_is_there(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["webcam", "--source", str(images), "--no-window", "--max-frames", "2", "--jsonl", "-"]
    assert run(arguments) == 0
    printed = capsys.readouterr()
    assert [json.loads(line)["frame"] for line in printed.out.splitlines()] == [0, 1]
    assert "2 frames, 2 detections" in printed.err
    assert not Path("-").exists()
    assert run([*arguments, "--json"]) == 2
    assert "stdout" in capsys.readouterr().err


def test_what_is_there_is_kept_before_anything_is_loaded(
    images: Path, capsys: pytest.CaptureFixture[str], predictor: type[StandIn]
) -> None:
    Path("found.jsonl").write_text("mine")
    arguments = ["webcam", "--source", str(images), "--no-window", "--max-frames", "1", "--jsonl", "found.jsonl"]
    assert run(arguments) == 1
    assert "found.jsonl is there already" in (told := capsys.readouterr().err) and "--overwrite" in told
    assert Path("found.jsonl").read_text() == "mine" and predictor.loaded == []
    assert run([*arguments, "--overwrite"]) == 0
    assert json.loads(Path("found.jsonl").read_text())["frame"] == 0


def test_without_a_display_the_result_is_saved(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photograph = sorted(images.iterdir())[0]
    assert run(["webcam", "--source", str(photograph)]) == 0
    printed = capsys.readouterr()
    assert "no display" in printed.err and "webcam.jpg" in printed.err
    with open_source("webcam.jpg") as saved, open_source(str(photograph)) as source:
        assert (saved.width, saved.height) == (source.width, source.height)


def test_dry_run_tells_the_plan_and_touches_nothing(
    images: Path, capsys: pytest.CaptureFixture[str], predictor: type[StandIn]
) -> None:
    assert run(["webcam", "--source", str(images), "--save", "drawn", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert "32 frames" in plan["source"]
    assert (plan["iou"], plan["score"], plan["save"], plan["window"]) == (0.3, 0.2, "drawn", False)
    assert predictor.loaded == []
    assert [path.name for path in Path.cwd().iterdir()] == ["runs"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--source", "nowhere.mp4"], 1, "nowhere.mp4"),
        (["--source", "93"], 1, "camera 93"),
        (["--save", "out.mp4"], 2, "folder"),
        (["--jsonl", "taken"], 1, "taken is a folder"),
        (["--weights", "missing.keras"], 1, "missing.keras"),
        (["--iou", "1.5"], 2, "--iou"),
        (["--max-frames", "0"], 2, "--max-frames"),
        (["--sourse", "0"], 2, "--sourse"),
    ],
)
def test_errors_are_told_and_nothing_is_left_behind(
    arguments: list[str], code: int, told: str, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("taken").mkdir()
    assert run(["webcam", "--source", str(images), "--no-window", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "error:" in printed.err and "hint:" in printed.err
    assert told in " ".join(printed.err.split())
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["runs", "taken"]


def test_ctrl_c_ends_with_130_and_complete_files(
    images: Path, capsys: pytest.CaptureFixture[str], predictor: type[StandIn]
) -> None:
    predictor.interrupt_at = 4
    assert run(["webcam", "--source", str(images), "--no-window", "--jsonl", "found.jsonl"]) == 130
    assert len(Path("found.jsonl").read_text().splitlines()) == 4
    assert capsys.readouterr().out == ""


KILLED = """
import os, signal, sys, types
import numpy as np
from fcoslite.cli.app import main
from fcoslite.detections.detections import Detections
from fcoslite.geometry.letterbox import Letterbox

class Predictor:
    load = classmethod(lambda cls, weights, settings, engine, many: cls())
    warm_up = lambda self: None
    device = "nothing"
    seen = 0
    at_once = 1

    def letterbox(self, height, width):
        return Letterbox.square(height, width, 64)

    def predict(self, image_rgb, letterboxed=None):
        self.seen += 1
        if self.seen == 6:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))
        empty = np.zeros(0, np.float32)
        return Detections(np.zeros((0, 4), np.float32), empty, empty.astype(np.int32), ("person",))

module = types.ModuleType("fcoslite.inference.predictor")
module.Predictor = Predictor
sys.modules["fcoslite.inference.predictor"] = module
signal.signal(getattr(signal, sys.argv[2]), signal.SIG_DFL)  # whoever runs the tests may ignore it
main(["webcam", "--source", sys.argv[1], "--no-window", "--save", "out.mp4"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows kills without asking")
def test_a_page_for_the_browser(images: Path, tmp_path: Path) -> None:
    from urllib.parse import urlsplit

    from websockets.sync.client import connect

    command = [sys.executable, "-m", "fcoslite", "webcam", "--browser", "--port", "0", "--quiet", "-w", "lite0"]
    with subprocess.Popen([*command, "--jsonl", "a.jsonl"], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as webcam:
        late = threading.Timer(120, webcam.kill)  # ends what reads from it
        late.start()
        try:
            assert webcam.stderr is not None
            words = webcam.stderr.readline().split()
            address = urlsplit(next(word for word in words if word.startswith("http://")))
            with connect(f"ws://{address.netloc}{address.path}socket", origin=f"http://{address.netloc}") as socket:
                assert json.loads(socket.recv(timeout=20))["type"] == "state"
                socket.send((images / "000000000165.jpg").read_bytes())
                assert json.loads(socket.recv(timeout=20))["type"] == "found"
                webcam.send_signal(signal.SIGINT)
                assert json.loads(socket.recv(timeout=20)) == {"type": "end"}
            assert webcam.wait(20) == 130
        finally:
            late.cancel()
            webcam.kill()  # else a failed test would wait for it for ever
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows kills without asking")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_polite_kill_leaves_a_video_that_plays(images: Path, tmp_path: Path, name: str, code: int) -> None:
    import cv2

    video = tmp_path / "in.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for _ in range(40):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    command = [sys.executable, "-c", KILLED, str(video), name]
    killed = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    assert killed.returncode == code
    assert f"stopped by {name}" in killed.stderr.decode()
    with open_source(str(tmp_path / "out.mp4")) as source:
        assert len(list(source)) == 5


def test_a_wrong_source_is_told_before_anything_heavy_is_imported() -> None:
    program = """
import sys
from fcoslite.cli.app import run
assert run(["webcam", "--source", "nowhere.mp4"]) == 1
assert run(["webcam", "--source", "93"]) == 1
print([name for name in ("tensorflow", "keras", "jax", "mlflow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "[]", done.stderr
