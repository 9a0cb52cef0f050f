"""docs/your-camera.md, run from its first command to its last: a camera on the network, a browser, a broker, an app.

Run by `nox -s camera`, which keeps every picture to be looked at. The camera shows a film made of embedded photographs,
or the first 40 seconds of each half of `FCOSLITE_VIDEO`: one half is the evening, the other one the next day.
"""

import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import yaml

from fcoslite.inference.runtimes.open import open_runtime
from tests.browsers import launching
from tests.layout_readers import average_precision, yolo_reader
from tests.mosquitto import Listener, Mosquitto, needs_mosquitto, wait_for
from tests.review_pages import Review, current, press
from tests.test_docs import DOCS, command_lines
from tests.walks import FPS, walk_pictures

pytestmark = [pytest.mark.evening, needs_mosquitto()]

PAGE = DOCS / "your-camera.md"
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's, which has the bindings
MOST_SECONDS = 40  # of each half of a real video
FILMS = {
    "evening": [("quiet", 2), ("walk", 9), ("quiet", 13), ("walk", 6), ("quiet", 2)],
    "next-day": [("quiet", 2), ("walk", 5), ("quiet", 3), ("walk", 8), ("quiet", 2)],
}
USER, PASSWORD = "user", "secret-of-the-camera"
ANSWERS = 20

# what a test can wait for, in place of what a reader does; all of it must be on the page
STREAM = "rtsp://user:password@192.168.1.20:554/stream1"
EPOCHS = "--epochs 20 --set model.image_size=384"
FEW = "--epochs 1 --set model.image_size=128 --set finetune.steps_per_epoch=4 --set finetune.lr_max=2.0e-5"
SHORTER = {
    "--hours 4": "--hours 0.0117 --per-hour 3600",
    EPOCHS: f"{FEW} --set augment.conditions=0",
    "mqtt://192.168.1.10": "{broker}",
}


@dataclass
class Evening:
    """What is left of it.

    Attributes:
        folder: Where the reader has worked.
        pictures: To be looked at.
        printed: What each command has printed, by command and its place among its like: `label 2`.
        reviewed: What the page has counted.
        heard: What the broker's listener has heard.
    """

    folder: Path
    pictures: Path
    printed: dict[str, str] = field(default_factory=dict)
    reviewed: dict[str, Any] = field(default_factory=dict)
    heard: list[tuple[str, str, bool]] = field(default_factory=list)

    def document(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text("utf-8"))

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def evening(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    with ExitStack() as stack:
        launch = stack.enter_context(launching())
        made = tmp_path_factory.mktemp("evening")
        fps = _write_pictures(made, demo_data)
        address = stack.enter_context(_cameras(made, fps))
        broker = Mosquitto(made)
        stack.callback(broker.stop)
        listener = Listener(broker.port)
        stack.callback(listener.close)
        kept = Path(os.environ.get("FCOSLITE_PICTURES", made / "pictures"))
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        result = Evening(made / "work", kept, heard=listener.heard)
        result.folder.mkdir()
        _write_recording(made / "next-day", result.folder / "next-day.mp4", fps)
        browser = launch()
        stack.callback(browser.close)
        for line in _lines():
            line = line.replace("{broker}", broker.address)
            # whoever watches after the evening sees the next day
            line = line.replace(STREAM, f"{address}/{'evening' if 'collect' in line else 'next-day'}")
            _run(line, result, browser)
        yield result


def _lines() -> list[str]:
    """The page's commands, so short that three minutes are enough."""
    text = "\n".join(line for line in command_lines(PAGE) if line.startswith("fcoslite "))
    assert STREAM in text
    for long, short in SHORTER.items():
        assert long in text
        text = text.replace(long, short)
    return text.splitlines()


def _write_pictures(made: Path, demo_data: Path) -> str:
    """Write a folder of pictures for each half, and tell how many there are a second."""
    if video := os.environ.get("FCOSLITE_VIDEO"):
        capture = cv2.VideoCapture(video)
        fps, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        assert fps > 0 and count > 20 * fps, f"{video} is no video of 20 seconds or more"
        most = round(MOST_SECONDS * fps)
        wanted = {"evening": range(min(count // 2, most)), "next-day": range(count // 2, min(count, count // 2 + most))}
        halves: dict[str, Iterator[np.ndarray]] = {
            name: _frames(cv2.VideoCapture(video), numbers) for name, numbers in wanted.items()
        }
    else:
        fps = FPS
        halves = {
            name: walk_pictures(demo_data, plan, (640, 480), seed=seed)
            for seed, (name, plan) in enumerate(FILMS.items())
        }
    for name, pictures in halves.items():
        (made / name).mkdir()
        for number, picture in enumerate(pictures):
            cv2.imwrite(str(made / name / f"{number:06d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return f"{round(1000 * fps)}/1000"


def _frames(capture: Any, numbers: range) -> Iterator[np.ndarray]:
    for number in range(numbers.stop):
        there, picture = capture.read()
        if there and number in numbers:
            yield picture


def _write_recording(pictures: Path, path: Path, fps: str) -> None:
    rate = int(fps.partition("/")[0]) / 1000
    writer: Any = None
    for file in sorted(pictures.iterdir()):
        picture = cv2.imread(str(file))
        if writer is None:
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, picture.shape[1::-1])
        writer.write(picture)
    writer.release()


@contextmanager
def _cameras(made: Path, fps: str) -> Iterator[str]:
    """Serve both halves over RTSP, by GStreamer."""
    script = Path(__file__).with_name("rtsp_server.py")
    command = [SYSTEM_PYTHON, str(script), USER, PASSWORD, fps, *(f"{name}={made / name}" for name in FILMS)]
    needed = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
    if not Path(SYSTEM_PYTHON).is_file():
        pytest.skip("needs GStreamer's RTSP server, as Debian has it")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stderr is not None
        try:
            if not (address := server.stdout.readline().strip()):
                said = server.stderr.read().strip().splitlines()[-1:]
                pytest.skip(f"needs GStreamer's RTSP server, apt-get install {needed}: {said}")
            yield address
        finally:
            server.kill()


def _run(line: str, evening: Evening, browser: Any) -> None:
    words = shlex.split(line)[1:]
    place = 1 + sum(name.split()[0] == words[0] for name in evening.printed)
    name = f"{words[0]} {place}"
    if words[0] == "review":
        evening.printed[name] = ""
        _review(evening, evening.folder / words[1], browser)
    elif words[0] == "webcam":
        evening.printed[name] = _watch(words, evening)
    else:
        evening.printed[name] = _call(words, evening.folder)
    _keep_pictures(words, evening, browser)


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}


def _call(words: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fcoslite", *words],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def _review(evening: Evening, folder: Path, browser: Any) -> None:
    """Answer by keys: who scores 0.55 is somebody, and what is at one place again and again is nobody."""
    labels = json.loads((folder / "annotations.json").read_text("utf-8"))
    scores = [one["score"] for one in labels["annotations"]]
    with Review(folder) as review:
        page = browser.new_page(viewport={"width": 1100, "height": 680})
        page.goto(review.address)
        page.wait_for_selector("#picture[data-crop]")
        for number in range(ANSWERS):
            if number % 5 == 0:
                page.screenshot(path=evening.pictures / f"3-review-{number}.png")
            again = re.search(r"\((\d+)\)", page.inner_text("#never"))
            stands = again is not None and int(again[1]) >= 5
            press(page, "y" if scores[current(page)] >= 0.55 else "p" if stands else "n")
        page.click("#stop")
        evening.reviewed = review.result()
        page.close()


def _watch(words: list[str], evening: Evening) -> str:
    """Let it run until the broker has told an event, as a reader would; then Ctrl-C."""
    command = [sys.executable, "-m", "fcoslite", *words]
    process = subprocess.Popen(
        command, cwd=evening.folder, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_for(lambda: process.poll() is not None or any(topic.endswith("/event") for topic, *_ in evening.heard))
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in (0, 130), printed
    return printed


def _keep_pictures(words: list[str], evening: Evening, browser: Any) -> None:
    """Every picture that the command has made, before the next one replaces it."""
    folder, pictures = evening.folder, evening.pictures
    if words[0] == "collect":
        shutil.copy(folder / "data/home/sheet.jpg", pictures / "1-collect.jpg")
    elif words[0] == "label":
        out = words[words.index("--out") + 1]
        shutil.copy(
            folder / out / "sheet.jpg", pictures / f"{2 if out == 'data/home' else 5}-label-{Path(out).name}.jpg"
        )
    elif words[0] == "eval":
        out = words[words.index("--out") + 1]
        page = browser.new_page(viewport={"width": 1100, "height": 680})
        page.goto((folder / out / "visits.html").as_uri())
        page.screenshot(path=pictures / f"5-visits-{out}.png", full_page=True)
        page.close()
    elif words[0] == "detect":
        [drawn] = (folder / "drawn").glob("*.mp4")
        capture = cv2.VideoCapture(str(drawn))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        for number, picture in enumerate(_frames(capture, range(0, count, max(1, count // 6)))):
            cv2.imwrite(str(pictures / f"5-detect-{number}.jpg"), picture)
    elif words[0] == "webcam":
        for number, event in enumerate(evening.lines("events.jsonl")):
            shutil.copy(folder / event["picture"], pictures / f"6-event-{number}.jpg")
    elif words[0] == "export":
        read = _reader(folder / "person.onnx")
        least = _written(evening)
        [*files] = sorted((folder / "data/next-day/images").iterdir())
        for number, file in enumerate(files[:: max(1, len(files) // 6)]):
            picture = cv2.imread(str(file))
            for *box, score, _ in read(picture):
                if score >= math.sqrt(least):
                    low_x, low_y, high_x, high_y = (round(side) for side in box)
                    cv2.rectangle(picture, (low_x, low_y), (high_x, high_y), (0, 200, 0), 2)
            cv2.imwrite(str(pictures / f"6-reader-{number}.jpg"), picture)


def _reader(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """As an app reads it, by nothing but the file."""
    session = onnxruntime.InferenceSession(str(path))
    [given] = session.get_inputs()
    return yolo_reader(lambda pixels: session.run(None, {given.name: pixels})[0], given.shape[-1])


def _run_folder(evening: Evening) -> Path:
    [run] = (evening.folder / "runs").glob("finetune-*")
    return run


def _written(evening: Evening) -> float:
    """The threshold in the run."""
    return float(yaml.safe_load((_run_folder(evening) / "config.yaml").read_text("utf-8"))["webcam"]["score"])


# --- what it has left


def test_frames_are_collected_and_the_password_is_nowhere(evening: Evening) -> None:
    frames = evening.lines("data/home/frames.jsonl")
    assert len(frames) >= 8 and {frame["camera"] for frame in frames} == {"door"}
    assert "moved" in {frame["why"] for frame in frames}
    assert "stopped by     hours" in evening.printed["collect 1"]
    for frame in frames:
        assert cv2.imread(str(evening.folder / "data/home/images" / frame["file_name"])).std() > 10
    for path in evening.folder.rglob("*"):
        assert PASSWORD not in path.name
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
    assert not any(PASSWORD in text for text in evening.printed.values())


def test_answers_are_in_the_labels(evening: Evening) -> None:
    answers = evening.lines("data/home/reviews.jsonl")
    words = [line["answer"] for line in answers if line["type"] == "box"]
    assert (words.count("yes"), words.count("no")) == (evening.reviewed["yes"], evening.reviewed["no"])
    assert len(words) + evening.reviewed["places"] == ANSWERS
    before = evening.document("data/home/annotations.before-review.json")["annotations"]
    after = evening.document("data/home/annotations.json")["annotations"]
    assert sum(one["score"] == 1 for one in after) == evening.reviewed["yes"]
    assert len(before) - len(after) == evening.reviewed["no"] + evening.reviewed["at_places"]


def test_what_was_known_is_kept(evening: Evening) -> None:
    kept = json.loads((_run_folder(evening) / "keep.json").read_text("utf-8"))
    assert 0 <= kept["share"] <= 1 and len(kept["sets"]) == 2
    lost = [part["before"]["ap"] - part["kept"]["ap"] for name, part in kept["sets"].items() if name == "photographs"]
    assert lost and lost[0] <= kept["most_lost"]


def test_visits_are_judged_and_the_threshold_is_written(evening: Evening) -> None:
    before, after = (evening.document(f"{name}/visits.json") for name in ("before", "after"))
    assert before["written"] is None and evening.folder / after["written"] == _run_folder(evening) / "config.yaml"
    chosen = [row for row in after["thresholds"] if row["score"] == _written(evening)]
    assert len(chosen) == 1 and chosen[0]["false_alarms_per_day"] <= 5
    assert before["visits"] == after["visits"] >= 1 and chosen[0]["found"] >= 1


def test_the_export_has_the_threshold_and_a_reader_finds_what_we_find(evening: Evening) -> None:
    shown = re.search(r"min_score: ([\d.]+)", evening.printed["export 1"])
    assert shown is not None and float(shown[1]) == pytest.approx(math.sqrt(_written(evening)), abs=0.006)
    runtime = open_runtime(_run_folder(evening) / "checkpoints" / "best.npz")

    def as_a_yolo(blobs: np.ndarray) -> np.ndarray:
        dense = runtime(np.round(blobs * 255).astype(np.uint8).transpose(0, 2, 3, 1))
        low, high = dense.boxes_xyxy[..., :2], dense.boxes_xyxy[..., 2:]
        return np.concatenate([(low + high) / 2, high - low, dense.scores], axis=-1).transpose(0, 2, 1)

    data = evening.folder / "data/next-day"
    size = onnxruntime.InferenceSession(str(evening.folder / "person.onnx")).get_inputs()[0].shape[-1]
    ours = average_precision(yolo_reader(as_a_yolo, size), data)
    assert ours > 0.05
    assert average_precision(_reader(evening.folder / "person.onnx"), data) == pytest.approx(ours, abs=0.005)


def test_events_are_in_the_file_and_at_the_broker(evening: Evening) -> None:
    events = evening.lines("events.jsonl")
    sent = [json.loads(payload) for topic, payload, _ in evening.heard if topic == "fcoslite/door/event"]
    assert [event["id"] for event in events] == [event["id"] for event in sent] and events
    assert all(event["camera"] == "door" and event["seconds"] >= 1 for event in events)
    topics = {topic for topic, *_ in evening.heard}
    assert {"fcoslite/door/person", "homeassistant/device/fcoslite_door/config"} <= topics
    told = [payload for topic, payload, _ in evening.heard if topic == "fcoslite/door/availability"]
    assert told[0] == "online" and told[-1] == "offline"


def test_every_picture_is_there_to_be_looked_at(evening: Evening) -> None:
    names = {path.name.partition("-")[2].partition(".")[0].rstrip("-0123456789") for path in evening.pictures.iterdir()}
    expected = {"collect", "label-home", "review", "label-next-day", "visits-before", "visits-after"}
    assert names >= {*expected, "detect", "event", "reader"}
    for path in evening.pictures.iterdir():
        assert cv2.imread(str(path)).std() > 5, path
