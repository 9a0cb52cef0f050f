"""Recordings and streams of a made camera."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fcoslite.inference.input import captures
from tests.streams import MjpegCamera, jpeg
from tests.walks import walk_pictures, write_walk

PLAN = [("quiet", 4.0), ("walk", 6.0), ("quiet", 14.0)]


@pytest.fixture(scope="session")
def recording(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds in which all is quiet, six in which somebody walks, fourteen quiet ones."""
    return write_walk(tmp_path_factory.mktemp("recording") / "door.avi", demo_data, PLAN)


Walkers = Callable[..., MjpegCamera]


@pytest.fixture(scope="session")
def walk_jpegs(demo_data: Path) -> list[bytes]:
    """Twelve seconds, half of them quiet."""
    return [jpeg(picture) for picture in walk_pictures(demo_data, [("quiet", 6), ("walk", 6)], (320, 240))]


@pytest.fixture
def walkers(walk_jpegs: list[bytes]) -> Iterator[Walkers]:
    """Call it for a camera through whose picture people walk every twelve seconds, and faster than life."""
    cameras: list[MjpegCamera] = []

    def serve(seconds: float = 0.03) -> MjpegCamera:
        cameras.append(MjpegCamera(lambda number: walk_jpegs[number % len(walk_jpegs)], seconds))
        return cameras[-1]

    yield serve
    for camera in cameras:
        camera.die()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is looked for at once."""
    monkeypatch.setattr(captures, "_FIRST_PAUSE_SECONDS", 0.05)
