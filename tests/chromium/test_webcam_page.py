"""`webcam --browser` as its user sees it, in a real Chromium; run by `nox -s browser`, which keeps the pictures."""

import base64
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fcoslite.data.images import read_image
from fcoslite.detections.draw import class_colour
from tests.browsers import Serving

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(os.environ.get("FCOSLITE_SCREENSHOTS", "."))


@pytest.fixture(scope="module")
def camera(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Chromium takes for a camera: a file of JPEGs, here one photograph panned."""
    image = read_image(demo_data / "images" / "000000000165.jpg")
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with path.open("wb") as file:
        for step in range(40):
            window = np.ascontiguousarray(np.roll(image, 2 * step, axis=1)[:, :, ::-1])
            file.write(cv2.imencode(".jpg", cv2.resize(window, (640, 480)))[1].tobytes())
    return path


@pytest.fixture
def browser(launch: Callable[..., Any], camera: Path) -> Any:
    return launch("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}")


class Webcam(Serving):
    """The command, running."""

    def __init__(self, *arguments: str) -> None:
        super().__init__("webcam", "--browser", "-w", "lite0", *arguments)


def open_page(browser: Any, webcam: Webcam, faults: list[str], **options: Any) -> Any:
    context = browser.new_context(viewport={"width": 1100, "height": 640}, permissions=["camera"], **options)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url == webcam.address else faults.append(request.url))
    page.goto(webcam.address)
    return page


def until(page: Any, element: str, true: Callable[[str], bool]) -> None:
    """Wait for what an element says; the page's policy lets no strings be run in it, and so no other way."""
    deadline = time.monotonic() + 30
    while not true(text := page.inner_text(f"#{element}")):
        assert time.monotonic() < deadline, text
        page.wait_for_timeout(20)


def shown(page: Any) -> np.ndarray:
    """The canvas, [h, w, 3] RGB."""
    png = page.evaluate("() => document.getElementById('picture').toDataURL('image/png').split(',')[1]")
    return cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def test_the_browsers_camera(browser: Any, tmp_path: Path) -> None:
    faults: list[str] = []
    lines = tmp_path / "seen.jsonl"
    with Webcam("--jsonl", str(lines)) as webcam:
        page = open_page(browser, webcam, faults)
        until(page, "count", lambda text: int(text) > 20)
        assert page.inner_text("#found") != "0"
        assert (shown(page) == class_colour(1)).all(axis=-1).sum() > 200  # boxes are drawn
        page.screenshot(path=SCREENSHOTS / "webcam-browser.png")
        page.select_option("#engine", "openvino")
        until(page, "device", lambda text: text.startswith("OpenVINO"))
        page.fill("#score", "0.99")
        until(page, "found", lambda text: text == "0")
        page.fill("#score", "0.05")
        until(page, "found", lambda text: int(text) > 0)
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("() => document.documentElement.scrollWidth") == 400
        page.screenshot(path=SCREENSHOTS / "webcam-browser-dark.png")
        page.close()  # it goes away in the middle, and comes back
        page = open_page(browser, webcam, faults)
        until(page, "count", lambda text: int(text) > 5)
        assert page.input_value("#score") == "0.05"
        page.click("#stop")
        result = webcam.result()
        until(page, "status", lambda text: text.startswith("Stopped"))
    assert faults == []
    assert result["stopped_by"] == "key" and result["frames"] == len(lines.read_text().splitlines()) > 25


def test_photographs_one_by_one(browser: Any, demo_data: Path) -> None:
    faults: list[str] = []
    with Webcam("--source", str(demo_data / "images"), "--max-frames", "3") as webcam:
        page = open_page(browser, webcam, faults)
        for number in range(1, 4):
            until(page, "count", str(number).__eq__)
            assert page.inner_text("#status").endswith(".jpg")
            page.wait_for_timeout(300)
            assert page.inner_text("#count") == str(number)  # it waits
            page.click("#next")
        assert webcam.result()["frames"] == 3
        until(page, "status", lambda text: text.startswith("It is over"))
    assert faults == []


def test_without_leave_to_use_the_camera(browser: Any) -> None:
    with Webcam() as webcam:
        context = browser.new_context()
        page = context.new_page()
        page.goto(webcam.address)
        until(page, "status", lambda text: "not allowed" in text)
        context.grant_permissions(["camera"])
        page.click("#start")
        until(page, "count", lambda text: int(text) > 2)
