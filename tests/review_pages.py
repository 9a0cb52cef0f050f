"""`review`, running, and its page in a real Chromium."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Review:
    """The command, running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "fcoslite", "review", str(folder), "--port", "0", "--json"]
        self.process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        found = re.search(r"http://\S+", self.process.stderr.readline())
        assert found is not None
        self.address = found[0]

    @property
    def lines(self) -> list[dict[str, Any]]:
        path = self.folder / "reviews.jsonl"
        lines = map(json.loads, path.read_text("utf-8").splitlines() if path.exists() else [])
        return [line for line in lines if line["type"] != "written"]

    def result(self) -> dict[str, Any]:
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        document = json.loads(out)
        assert isinstance(document, dict)
        return document

    def __enter__(self) -> "Review":
        return self

    def __exit__(self, *of_an_error: object) -> None:
        self.process.kill()
        self.process.communicate()


def until(page: Any, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        page.wait_for_timeout(10)


def current(page: Any) -> int:
    return int(page.get_attribute("#picture", "data-crop"))


def press(page: Any, key: str) -> None:
    """Press a key, and see another crop."""
    before = current(page)
    page.keyboard.press(key)
    until(page, lambda: current(page) != before)
