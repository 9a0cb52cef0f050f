"""A real Chromium, driven by playwright, where both are installed, and what serves pages to it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def launching() -> Iterator[Callable[..., Any]]:
    """Call what this yields for a Chromium, by more of its arguments."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        yield lambda *more: playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *more])


class Serving:
    """A command of fcoslite that serves a page, running.

    Attributes:
        process: The command.
        address: Of the page.
    """

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "fcoslite", *arguments, "--port", "0", "--json"]
        self.process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        found = re.search(r"http://\S+", self.process.stderr.readline())
        assert found is not None
        self.address = found[0]

    def result(self) -> dict[str, Any]:
        """What it prints at its end."""
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        document = json.loads(out)
        assert isinstance(document, dict)
        return document

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *of_an_error: object) -> None:
        self.process.kill()
        self.process.communicate()
