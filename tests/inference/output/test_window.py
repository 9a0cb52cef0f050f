import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from fcoslite.inference.output.window import has_display

LINUX = sys.platform not in ("win32", "darwin")


@pytest.fixture(autouse=True)
def forget_the_display() -> Iterator[None]:
    has_display.cache_clear()
    yield
    has_display.cache_clear()


@pytest.mark.skipif(not LINUX, reason="elsewhere a screen is taken for granted")
def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_display()


@pytest.mark.skipif(not LINUX, reason="elsewhere a screen is taken for granted")
def test_a_display_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    # such as one left over from another session: Qt would abort the process
    monkeypatch.setenv("DISPLAY", ":7654")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_display()


def test_opencv_without_a_gui_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    assert not has_display()


@pytest.fixture
def xvfb() -> Iterator[dict[str, str]]:
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("needs Xvfb and xdotool")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "800x600x24"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number = pipe.readline().strip()
    yield {**os.environ, "DISPLAY": f":{number}"}
    server.terminate()
    server.wait(10)


PROGRAM = """
import sys
import numpy as np
from fcoslite.detections.detections import Detections
from fcoslite.inference.detect import FrameResult
from fcoslite.inference.input.frame_source import Frame
from fcoslite.inference.output.window import Window, has_display
assert has_display()
window = Window("fcoslite")
images = 0
print("open", flush=True)
frame = Frame(0, np.full((300, 400, 3), 128, np.uint8), "grey", 0.0)
result = FrameResult(frame, Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), ("person",)), None)
while window.show(result) if sys.argv[1] == "show" or not images else window.idle():
    images += 1
window.close()
print("ended", images > 0, flush=True)
"""


@pytest.mark.parametrize(("key", "while_it"), [("q", "show"), ("Escape", "show"), ("q", "idle")])
def test_a_key_ends_the_window(key: str, while_it: str, xvfb: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, while_it]
    shown = subprocess.Popen(command, env=xvfb, stdout=subprocess.PIPE, text=True)
    assert shown.stdout is not None
    try:
        assert shown.stdout.readline() == "open\n"
        find = ["xdotool", "search", "--sync", "--name", "^fcoslite$", "windowfocus", "--sync", "key", key]
        for _ in range(20):  # until the window is ready to hear it
            subprocess.run(find, env=xvfb, timeout=20, capture_output=True)
            try:
                shown.wait(0.5)
                break
            except subprocess.TimeoutExpired:
                continue
        assert shown.stdout.read() == "ended True\n"
        assert shown.returncode == 0
    finally:
        shown.kill()
        shown.wait()
        shown.stdout.close()
