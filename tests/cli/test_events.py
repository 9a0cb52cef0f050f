"""--events and --mqtt of `detect` and `webcam`, on a video and a camera made of a photograph, with packaged weights."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fcoslite.cli.app import run
from tests.mosquitto import Listener, Mosquitto, needs_mosquitto, wait_for
from tests.ports import free_port
from tests.streams import MjpegCamera

FPS = 10


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def frames(demo_data: Path) -> list[np.ndarray]:
    """A pan over a photograph, BGR, in which a man moves to the left: 14 frames."""
    photograph = cv2.imread(str(demo_data / "images" / "000000000165.jpg"))
    return [photograph[30:530, 12 * step : 12 * step + 400] for step in range(14)]


@pytest.fixture
def video(frames: list[np.ndarray], here: Path) -> str:
    writer = cv2.VideoWriter("pan.avi", cv2.VideoWriter.fourcc(*"MJPG"), float(FPS), (400, 500))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return "pan.avi"


@pytest.fixture
def camera(frames: list[np.ndarray]) -> Iterator[MjpegCamera]:
    """The pan as a stream, forth and back without end."""
    parts = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in (*frames, *reversed(frames))]
    served = MjpegCamera(lambda number: parts[number % len(parts)], 1 / FPS)
    yield served
    served.die()


def lines(path: str = "events.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def test_events_of_a_video(video: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["detect", video, "-w", "lite0", "--events", "events.jsonl", "--min-seconds", "0.5", "--json"]
    assert run([*arguments, "--save", "drawn", "--zone", "0,0,1,0,1,1,0,1"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = lines()
    assert document["events"] == len(found) >= 1
    for event in found:
        assert event["camera"] == "pan" and 0 <= event["start"] < event["end"] <= 1.3
        assert event["seconds"] == pytest.approx(event["end"] - event["start"], abs=0.002) and 0.35 < event["score"] < 1
        picture = cv2.imread(event["picture"])
        assert max(picture.shape) == 320 and picture.std() > 20
    with cv2_video("drawn/pan.mp4") as drawn:
        assert (drawn[:2].min(axis=2) > 200).mean() > 0.3  # the zone, along the border; left and right are boxes
    # what is there is gone on with, and numbers of events are never the same
    assert run(arguments) == 0
    assert len(lines()) == 2 * len(found) and len({event["id"] for event in lines()}) == 2 * len(found)
    assert run([*arguments, "--overwrite"]) == 0
    assert len(lines()) == len(found)


def test_recordings_whose_names_come_to_the_same_are_apart(video: str) -> None:
    """Tracks are numbered anew in each, and its seconds begin with it."""
    names = ["вход.avi", "двор.avi"]
    for name in names:
        shutil.copy(video, name)
    options = ["-w", "lite0", "--events", "events.jsonl", "--min-seconds", "0.5", "--json"]
    assert run(["detect", *names, *options]) == 0
    found = [{**event, "id": "", "picture": ""} for event in lines()]
    half = len(found) // 2
    assert half >= 1 and found[:half] == found[half:] and found[0]["camera"] == "camera"
    assert run(["detect", video, *options[:2], "--events", "one.jsonl", *options[4:]]) == 0
    assert len(lines("one.jsonl")) == half


class cv2_video:
    """The middle frame of a video, RGB."""

    def __init__(self, path: str) -> None:
        self._capture = cv2.VideoCapture(path)

    def __enter__(self) -> np.ndarray:
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, 6)
        good, frame = self._capture.read()
        assert good
        return frame[..., ::-1]

    def __exit__(self, *raised: object) -> None:
        self._capture.release()


def test_a_zone_in_which_nobody_stands_and_a_time_that_nobody_stays(video: str) -> None:
    arguments = ["detect", video, "-w", "lite0", "--quiet", "--events", "events.jsonl"]
    for more in (["--zone", "0,0,400,0,400,60,0,60"], ["--min-seconds", "5"]):
        assert run([*arguments, *more]) == 0
        assert not Path("events.jsonl").exists()


def test_lines_on_stdout(video: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--events", "-", "--min-seconds", "0.5", "--camera", "door", "-w", "lite0"]
    assert run(["detect", video, *arguments]) == 0
    printed = capsys.readouterr()
    event = json.loads(printed.out.splitlines()[0])
    assert (event["camera"], event["picture"]) == ("door", None) and re.search(r"[1-9] events", printed.err)
    assert run(["webcam", "--no-window", "--save", "drawn.avi", "--source", video, *arguments]) == 0
    printed = capsys.readouterr()
    again = json.loads(printed.out.splitlines()[0])
    for key in ("track", "start", "end", "bbox"):
        assert again[key] == event[key]
    assert [path.name for path in Path.cwd().iterdir() if path.is_dir()] == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows kills without asking")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_polite_end_closes_the_events_that_go_on(camera: MjpegCamera, here: Path, name: str, code: int) -> None:
    before = time.time()
    command = [sys.executable, "-m", "fcoslite", "webcam", "--no-window", "--source", camera.url, "-w", "lite0"]
    options = ["--events", "events.jsonl", "--min-seconds", "0", "--camera", "door"]
    options += ["--save", "drawn.avi", "--jsonl", "frames.jsonl"]

    def tracks() -> set[int]:
        """Who is in the last frame."""
        content = Path("frames.jsonl").read_text() if Path("frames.jsonl").is_file() else ""
        whole = content[: content.rfind("\n") + 1].splitlines()
        boxes = json.loads(whole[-1])["detections"] if whole else []
        return {box["track"] for box in boxes if box["track"]}

    with subprocess.Popen([*command, *options], cwd=here, stderr=subprocess.PIPE, text=True) as webcam:
        try:
            wait_for(lambda: len(tracks()) > 0)
            webcam.send_signal(getattr(signal, name))
            assert webcam.wait(120) == code, webcam.stderr.read() if webcam.stderr else ""
        finally:
            webcam.kill()
    found = lines()
    assert tracks() and tracks() <= {event["track"] for event in found}
    for event in found:
        assert event["camera"] == "door" and event["start"].endswith("Z") and event["start"] <= event["end"]
        began = np.datetime64(event["start"][:-1]).astype("datetime64[ms]").astype(int) / 1000
        assert before < began < time.time()
        assert event["picture"].startswith(f"events/door/{event['start'].replace('-', '').replace(':', '')}-")
        assert cv2.imread(event["picture"]) is not None


def test_a_dry_run_writes_and_connects_nothing(video: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = [
        "--events",
        "events.jsonl",
        "--mqtt",
        f"mqtt://127.0.0.1:{free_port()}",
        "--dry-run",
        "--json",
        "-w",
        "lite0",
    ]
    for command in (["detect", video], ["webcam", "--no-window", "--save", "x.avi", "--source", video]):
        assert run([*command, *more]) == 0
        plan = json.loads(capsys.readouterr().out)
        assert (plan["events"], plan["min_seconds"], plan["mqtt_spool"]) == ("events.jsonl", 1.0, "mqtt-spool")
        assert [path.name for path in Path.cwd().iterdir()] == ["pan.avi"]


def test_a_broker_that_is_away_holds_nobody_up(video: str, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"mqtt://127.0.0.1:{free_port()}"
    began = time.monotonic()
    assert run(["detect", video, "-w", "lite0", "--mqtt", address, "--min-seconds", "0.5"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("is away: Connection refused") == 1
    assert re.search(r"[1-9] events wait in mqtt-spool/pan\.sqlite", told)
    assert time.monotonic() - began < 60


@needs_mosquitto()
def test_what_waited_is_sent_by_the_next_run(video: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    listener = Listener(broker.port)
    broker.stop()
    arguments = ["detect", video, "-w", "lite0", "--mqtt", broker.address, "--events", "events.jsonl"]
    arguments += ["--min-seconds", "0.5", "--quiet"]
    assert run(arguments) == 0
    waiting = len(lines())
    broker.start()
    assert run(arguments) == 0
    assert len(lines()) == 2 * waiting > 0
    wait_for(lambda: len(listener.events("pan")) == 2 * waiting)
    assert listener.events("pan") == [{"event_type": "visit", **line} for line in lines()]
    assert listener.payloads("fcoslite/pan/person")[-1] == "OFF"
    assert listener.payloads("fcoslite/pan/availability")[-1] == "offline"
    listener.close()
    broker.stop()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--zone", "0,0,1,1,1,0"], 2, "--zone does nothing without --events or --mqtt"),
        (["--min-seconds", "2"], 2, "--min-seconds does nothing without"),
        (["--events", "e.jsonl", "--mqtt-ca", "ca.pem"], 2, "--mqtt-ca does nothing without --mqtt"),
        (["--events", "e.jsonl", "--zone", "0,0,1,1"], 2, "2 corners enclose nothing"),
        (["--events", "e.jsonl", "--zone", "0,0,900,0,900,400"], 2, "900,0 lies outside the picture, which is 400x500"),
        (["--events", "e.jsonl", "--min-seconds", "-1"], 2, "--min-seconds"),
        (["--events", "e.jsonl", "--camera", "a b"], 2, "--camera"),
        (["--events", "pan.avi"], 1, "pan.avi is there already, and holds no events"),
        (["--events", "nowhere/../pan.avi/e.jsonl"], 1, "is a file, not a folder"),
        (["--mqtt", "mqtt://me:secret@broker"], 2, "user and password do not belong in the address"),
        (["--mqtt", "broker.local"], 2, "no address"),
        (["--mqtt", "mqtt://broker.invalid", "--mqtt-login", "none"], 2, "--mqtt-login none cannot be read"),
    ],
)
@pytest.mark.parametrize("command", [["detect"], ["webcam", "--no-window", "--save", "x.avi", "--source"]])
def test_bad_input_is_told_and_nothing_is_left_behind(
    command: list[str], arguments: list[str], code: int, told: str, video: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, video, "-w", "lite0", *arguments]) == code
    printed = capsys.readouterr()
    assert "error:" in printed.err and "hint:" in printed.err and "secret" not in printed.err
    assert told in " ".join(printed.err.split())
    assert [path.name for path in Path.cwd().iterdir()] == ["pan.avi"]


def test_what_goes_together_and_what_does_not(video: str, demo_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photograph = str(demo_data / "images" / "000000000165.jpg")
    for arguments, told in (
        (["detect", photograph, "--events", "e.jsonl"], "only images are named"),
        (["webcam", "--source", photograph, "--events", "e.jsonl"], "of cameras, videos and streams"),
        (["webcam", "--browser", "--events", "e.jsonl"], "--browser goes with neither"),
        (["detect", video, "--events", "-", "--json"], "--json prints to stdout"),
        (["webcam", "--source", video, "--events", "-", "--json"], "--json prints to stdout"),
        (["detect", video, "--events", "-", "--csv", "-"], "same place"),
        (["webcam", "--source", video, "--events", "a", "--jsonl", "a"], "must be different files"),
        (["detect", video, "--events", "e.jsonl", "--classes", "persn"], "did you mean 'person'"),
    ):
        assert run([*arguments, "-w", "lite0", *(["--no-window"] if arguments[0] == "webcam" else [])]) == 2, told
        assert told in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in Path.cwd().iterdir()] == ["pan.avi"]
