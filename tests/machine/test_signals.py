"""A signal is noted, once; one that is ignored stays ignored."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from fcoslite.machine.signals import StopRequest

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
