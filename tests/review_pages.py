"""`review`, running, and its page in a real Chromium."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browsers import Serving


class Review(Serving):
    """The command, running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__("review", str(folder))

    @property
    def lines(self) -> list[dict[str, Any]]:
        path = self.folder / "reviews.jsonl"
        lines = map(json.loads, path.read_text("utf-8").splitlines() if path.exists() else [])
        return [line for line in lines if line["type"] != "written"]


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
