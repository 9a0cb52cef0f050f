"""The board between who asks for a training and who trains, without a cluster: calls are made at once."""

import logging
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fcoslite.data.images import UnusableImageError
from fcoslite.errors import ConfigError, FcosliteError, Interrupted
from fcoslite.machine.signals import StopRequest
from fcoslite.progress import Advance
from fcoslite.training.ray_board import Board, Reader, Reporter

_log = logging.getLogger("fcoslite")


class Here:
    """A board in this process, asked as Ray has it: `board.method.remote(...)`, and `ray.get` of that."""

    def __init__(self) -> None:
        self.board = Board()

    def __getattr__(self, name: str) -> object:
        method = getattr(self.board, name)
        return type("Method", (), {"remote": staticmethod(method)})

    @staticmethod
    def get(answer: object) -> object:
        return answer


class Bars:
    """What is shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    @contextmanager
    def __call__(self, title: str, total: int | None, unit: str) -> Iterator[Advance]:
        self.shown.append(f"open {title}")

        def advance(amount: int = 1, note: str = "") -> None:
            self.shown.append(f"move {amount} {note}".strip())

        yield advance
        self.shown.append(f"close {title}")


def test_bars_and_words_arrive_in_order_whenever_they_are_sent(caplog: pytest.LogCaptureFixture) -> None:
    here, bars = Here(), Bars()
    reader = Reader(here, here, bars, "--workers 2")
    caplog.set_level(logging.INFO)
    assert here.board.begin(0) == 1
    reporter = Reporter(here, here)
    with reporter.at_work():
        with reporter.progress("checking", 2, "shards") as advance:
            advance(1)
            time.sleep(0.8)  # longer than from one look to the next
            reader.look()
            advance(1, note="nearly")
        with reporter.progress("training", 9, "images") as advance:
            advance(4)
            time.sleep(0.8)
            reader.look()
            # killed here, and another process takes its place
            assert here.board.begin(0) == 2
            reader.look()
    assert bars.shown == [
        "open checking", "move 1", "move 1 nearly", "close checking", "open training", "move 4", "close training",
    ]  # fmt: skip
    assert "all begin again, from step 0" in caplog.text
    assert [here.board.begin(6), here.board.begin(6)] == [1, 2]


def test_a_signal_reaches_who_trains(caplog: pytest.LogCaptureFixture) -> None:
    here = Here()
    with StopRequest() as request, Reporter(here, here).at_work():
        here.board.stop(15)
        began = time.monotonic()
        while request.signal_number is None:
            assert time.monotonic() - began < 10
            time.sleep(0.05)
    assert request.signal_number == 15


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("wrong", "mend it"),
        Interrupted("stopped", "go on", 15),
        UnusableImageError(Path("a.jpg"), "damaged"),
    ],
)
def test_errors_travel(error: FcosliteError) -> None:
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error)
    assert (str(there), there.message, there.hint) == (str(error), error.message, error.hint)
    assert there.exit_code == error.exit_code
