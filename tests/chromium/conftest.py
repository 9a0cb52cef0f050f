from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browsers import launching


@pytest.fixture
def launch() -> Iterator[Callable[..., Any]]:
    """Starts a real Chromium, by more of its arguments."""
    with launching() as launch:
        yield launch
