"""Fixtures that many tests share."""

from importlib import resources
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def demo_data() -> Path:
    """The embedded photographs: images/ and annotations.json."""
    return Path(str(resources.files("fcoslite") / "demo_data"))
