"""A signal is noted, once, or ends the work; one that is ignored stays ignored."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from fcoslite.errors import Interrupted
from fcoslite.machine.signals import StopRequest, killed_as_interrupted

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.fixture(params=NUMBERS, ids=lambda number: number.name)
def number(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A signal, whose handler is put back."""
    before = signal.getsignal(request.param)
    yield request.param
    signal.signal(request.param, before)


def test_the_first_is_noted_and_the_next_one_acts(number: Any) -> None:
    acted = []
    signal.signal(number, lambda *_: acted.append(number))
    with StopRequest() as request:
        assert request.signal_number is None
        os.kill(os.getpid(), number)
        assert (request.signal_number, acted) == (number, [])
        os.kill(os.getpid(), number)
    assert acted == [number]
    os.kill(os.getpid(), number)
    assert acted == [number, number]


def test_an_ignored_one_stays_so(number: Any) -> None:
    signal.signal(number, signal.SIG_IGN)
    with StopRequest() as request:
        os.kill(os.getpid(), number)
    assert request.signal_number is None
    assert signal.getsignal(number) == signal.SIG_IGN


def test_a_kill_interrupts_and_the_work_can_be_completed(number: Any) -> None:
    if number == signal.SIGINT:  # Python's own
        with pytest.raises(KeyboardInterrupt), killed_as_interrupted():
            os.kill(os.getpid(), number)
        return
    signal.signal(number, signal.SIG_DFL)
    completed = []
    with pytest.raises(Interrupted, match=number.name) as caught, killed_as_interrupted():
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):  # once more kills no harder
                os.kill(os.getpid(), number)
            completed.append(True)
            raise
    assert (completed, caught.value.exit_code) == ([True], 128 + number)
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_kill_that_is_heard_or_ignored_stays_so(number: Any) -> None:
    acted = []
    for handler in (signal.SIG_IGN, lambda *_: acted.append(number)):
        signal.signal(number, handler)
        with killed_as_interrupted():
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) == handler
    assert acted == [number]


@pytest.mark.parametrize("heard", [StopRequest, killed_as_interrupted])
def test_outside_the_main_thread_nothing_is_changed(heard: type[AbstractContextManager[Any]]) -> None:
    before, inside = [signal.getsignal(number) for number in NUMBERS], []

    def work() -> None:
        with heard():
            inside.extend(signal.getsignal(number) for number in NUMBERS)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == before
