"""The page's server, driven as its script drives it: real sockets, the packaged detector."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from fcoslite.browser.server import MAX_MESSAGE_BYTES
from fcoslite.config.settings import WebcamSettings
from fcoslite.errors import SourceError
from fcoslite.inference.adjustable import AdjustablePredictor
from fcoslite.inference.browser.page import BrowserPage
from fcoslite.inference.input.frame_source import FrameSource
from fcoslite.inference.input.open import open_source
from fcoslite.inference.live import LiveResult, run_live
from fcoslite.inference.output.plan import Output
from fcoslite.runs.find_weights import find_weights
from tests.browser_visits import closed_with, told, visit
from tests.streams import MjpegCamera

SETTINGS = WebcamSettings(score=0.35, iou=0.5)


@pytest.fixture(scope="module")
def lite0() -> AdjustablePredictor:
    return AdjustablePredictor(find_weights("lite0", Path("runs")), SETTINGS, "auto")


@pytest.fixture
def predictor(lite0: AdjustablePredictor) -> AdjustablePredictor:
    lite0.set_thresholds(SETTINGS)
    return lite0


@pytest.fixture(scope="module")
def jpeg(demo_data: Path) -> bytes:
    return (demo_data / "images" / "000000000165.jpg").read_bytes()


class Run:
    """`run_live` on a page, in a thread."""

    def __init__(self, page: BrowserPage, predictor: AdjustablePredictor, source: FrameSource | None, output: Output):
        self.result: LiveResult | None = None
        self.error: Exception | None = None

        def work() -> None:
            try:
                with source or page.camera() as frames:
                    self.result = run_live(frames, predictor, output, page)
            except Exception as error:
                self.error = error
                page.close()

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


Starts = Callable[..., tuple[BrowserPage, Run]]


@pytest.fixture
def start(predictor: AdjustablePredictor) -> Iterator[Starts]:
    """Call it with a source, or none for the browser's camera."""
    begun: list[tuple[BrowserPage, Run]] = []

    def begin(source: str | None = None, output: Output | None = None) -> tuple[BrowserPage, Run]:
        opened = None if source is None else open_source(source)
        page = BrowserPage(predictor, opened, "127.0.0.1", 0)
        page.__enter__()
        begun.append((page, Run(page, predictor, opened, output or Output())))
        return begun[-1]

    yield begin
    for page, run in begun:
        page.stopped = True
        run.wait()
        page.close()


def test_a_picture_of_the_browsers_camera_is_answered(
    start: Starts, predictor: AdjustablePredictor, jpeg: bytes, tmp_path: Path
) -> None:
    page, run = start(output=Output(save=tmp_path / "seen.avi", jsonl=tmp_path / "seen.jsonl"))
    with visit(page.address) as socket:
        state = told(socket)
        assert (state["type"], state["source"], state["score"], state["iou"]) == ("state", "camera", 0.35, 0.5)
        assert {"auto", "onnx", "keras"} <= set(state["engines"]) and "litert" not in state["engines"]
        for _ in range(3):
            socket.send(jpeg)
            answer = told(socket)
        socket.send(json.dumps({"type": "stop"}))
        assert told(socket) == {"type": "end"}
    run.wait()
    assert run.result is not None and (run.result.frames, run.result.stopped_by) == (3, "key")
    image_rgb = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    expected = predictor.predict(image_rgb)
    assert len(expected) > 0
    assert (answer["height"], answer["width"]) == image_rgb.shape[:2]
    np.testing.assert_allclose([box["box"] for box in answer["boxes"]], expected.boxes_xyxy, atol=0.051)
    assert [box["label"] for box in answer["boxes"]] == expected.labels
    assert re.fullmatch("#[0-9a-f]{6}", answer["boxes"][0]["colour"])
    assert len((tmp_path / "seen.jsonl").read_text().splitlines()) == 3
    with open_source(str(tmp_path / "seen.avi")) as saved:
        assert (saved.height, saved.width) == image_rgb.shape[:2]


def test_one_picture_at_a_time(start: Starts, jpeg: bytes) -> None:
    page, _ = start()
    with visit(page.address) as socket:
        for _ in range(50):  # some come before the first is answered
            try:
                socket.send(jpeg)
            except ConnectionClosed:
                break
        assert closed_with(socket) == 1008
    with visit(page.address) as socket:  # and the next browser is served
        told(socket)
        socket.send(jpeg)
        assert told(socket)["type"] == "found"


def test_pictures_that_cannot_be_used(start: Starts, jpeg: bytes) -> None:
    page, _ = start()
    bomb = cv2.imencode(".png", np.zeros((5000, 5000), np.uint8))[1].tobytes()
    assert len(bomb) < 100_000
    with visit(page.address) as socket:
        told(socket)
        for content, reason in ((jpeg[:5000], "cut short"), (b"no picture", "no image"), (bomb, "pixels"), (b"", "no")):
            socket.send(content)
            answer = told(socket)
            assert (answer["type"], answer["again"]) == ("problem", True) and reason in answer["message"]
        socket.send(jpeg)
        assert told(socket)["type"] == "found"
        socket.send(bytes(MAX_MESSAGE_BYTES + 1))
        assert closed_with(socket) == 1009
    with visit(page.address) as socket:
        told(socket)
        socket.send(jpeg)
        assert told(socket)["type"] == "found"


def test_thresholds_and_engine(start: Starts, predictor: AdjustablePredictor, jpeg: bytes) -> None:
    page, _ = start()

    def number_found(socket: ClientConnection) -> int:
        socket.send(jpeg)
        return len(told(socket)["boxes"])

    def change(socket: ClientConnection, **values: object) -> dict[str, Any]:
        socket.send(json.dumps({"type": "set", **values}))
        return told(socket)

    with visit(page.address) as socket:
        told(socket)
        assert change(socket, score=0.01)["score"] == 0.01
        many = number_found(socket)
        assert change(socket, score=0.35)["iou"] == 0.5
        assert number_found(socket) < many
        for wrong in ({"score": 2}, {"iou": "x"}, {"score": None}, {"iou": 1e999}):
            assert change(socket, **wrong)["message"] == "score and IoU are from 0 to 1"
            assert (told(socket)["score"], predictor.settings) == (0.35, SETTINGS)
        assert "OpenVINO" in change(socket, engine="openvino")["device"]
        assert number_found(socket) > 0
        assert "did you mean 'onnx'" in change(socket, engine="onx")["message"]
        assert told(socket)["engine"] == "openvino"
        assert "does not run on litert" in change(socket, engine="litert")["message"]
        assert "OpenVINO" in told(socket)["device"]
        assert "ONNX Runtime" in change(socket, engine="auto")["device"]


def test_a_recording_waits_for_whoever_looks(start: Starts, video: Path) -> None:
    page, run = start(str(video))
    with visit(page.address) as socket:
        assert told(socket)["source"] == "video"
        for shown in range(5):
            assert told(socket)["width"] == 320
            picture = socket.recv(timeout=20)
            assert isinstance(picture, bytes)
            assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (240, 320, 3)
            if shown == 2:
                with pytest.raises(TimeoutError):
                    socket.recv(timeout=0.5)
            socket.send(json.dumps({"type": "shown"}))
    with visit(page.address) as socket:  # the first one went away in the middle
        told(socket)
        frames = 0
        while (message := told(socket))["type"] == "found":
            socket.recv(timeout=20)
            with suppress(ConnectionClosed):  # after the last one nobody waits
                socket.send(json.dumps({"type": "shown"}))
            frames += 1
        assert message["type"] == "end"
    run.wait()
    assert run.result is not None and (run.result.frames, run.result.stopped_by) == (24, "end")
    assert frames >= 24 - 6  # the one that was sent to nobody any more is lost to the eye alone


def test_large_frames_are_scaled_to_be_shown(start: Starts, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((1500, 2000, 3), np.uint8))[1].tobytes())
    page, _ = start(str(path))
    with visit(page.address) as socket:
        assert told(socket)["source"] == "still"
        assert told(socket)["width"] == 2000  # boxes are in its own pixels
        picture = socket.recv(timeout=20)
        assert isinstance(picture, bytes)
        assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (960, 1280, 3)
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.3)


def test_a_picture_where_none_is_asked_for(start: Starts, video: Path, jpeg: bytes) -> None:
    page, _ = start(str(video))
    with visit(page.address) as socket:
        socket.send(jpeg)
        assert closed_with(socket) == 1008


def test_a_live_source_goes_on_without_a_browser(
    mjpeg_camera: Callable[..., MjpegCamera], predictor: AdjustablePredictor
) -> None:
    with open_source(mjpeg_camera(10**6).url) as source, BrowserPage(predictor, source, "127.0.0.1", 0) as page:
        assert run_live(source, predictor, Output(), page, max_frames=4).frames == 4


def test_stopped_before_the_camera_gave_a_picture(start: Starts) -> None:
    page, run = start()
    with visit(page.address) as socket:
        told(socket)
        socket.send(json.dumps({"type": "stop"}))
        run.wait()
    assert isinstance(run.error, SourceError) and "stopped before its first picture" in run.error.message
