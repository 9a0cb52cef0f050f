"""Progress without a terminal: a line a minute, by a clock that stands still between two calls."""

import logging

import pytest

import fcoslite.progress as progress_module
from fcoslite.progress import logged_progress


class Clock:
    """Seconds, which pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "monotonic", clock)
    return clock


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.set_level(logging.INFO)

    class Lines(list):
        def __eq__(self, other: object) -> bool:
            return [record.getMessage() for record in caplog.records] == other

    return Lines()


def test_work_of_less_than_a_minute_says_nothing(clock: Clock, lines: list[str]) -> None:
    with logged_progress("Building records", 599, "images") as advance:
        for _ in range(599):
            clock.now += 0.1
            advance()
    assert lines == []


def test_a_line_a_minute(clock: Clock, lines: list[str]) -> None:
    with logged_progress("train small-001", 8000, "images") as advance:
        for step in range(1000):
            clock.now += 0.5
            advance(4, note=f"loss {step}" if step % 10 == 0 else "")
            if step == 250:
                break
    assert lines == [
        "train small-001: 480 of 8,000 images, 6%, 8.0 images/s, 0:15:40 left; loss 110",
        "train small-001: 960 of 8,000 images, 12%, 8.0 images/s, 0:14:40 left; loss 230",
    ]


def test_what_was_done_before_and_a_slow_first_step_do_not_count_as_speed(clock: Clock, lines: list[str]) -> None:
    with logged_progress("Building records", 100_000, "images") as advance:
        clock.now += 90  # something is compiled
        advance(70_000)  # of an earlier sitting
        for _ in range(60):
            clock.now += 1
            advance(10)
    assert lines == [
        "Building records: 70,000 of 100,000 images, 70%",
        "Building records: 70,600 of 100,000 images, 71%, 10.0 images/s, 0:49:00 left",
    ]


def test_slow_work_of_unknown_length(clock: Clock, lines: list[str]) -> None:
    with logged_progress("Verifying", None, "shards") as advance:
        for _ in range(4):
            clock.now += 40
            advance()
    assert lines == ["Verifying: 2 shards, 1.5 shards/min", "Verifying: 4 shards, 1.5 shards/min"]


def test_days_are_left_and_more_is_done_than_was_known(clock: Clock, lines: list[str]) -> None:
    with logged_progress("train", 100_000, "images") as advance:
        advance()
        clock.now += 60
        advance(12)
        clock.now += 60
        advance(100_000)
    assert lines == [
        "train: 13 of 100,000 images, 0%, 12.0 images/min, 5 days, 18:52:15 left",
        "train: 100,013 of 100,000 images, 100%, 833.4 images/s, 0:00:00 left",
    ]


def test_nothing_to_do(clock: Clock, lines: list[str]) -> None:
    with logged_progress("train", 0, "images") as advance:
        clock.now += 60
        advance(0)
    assert lines == ["train: 0 images"]
