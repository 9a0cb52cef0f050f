from pathlib import Path

import pytest

from tests.review_sets import copied, labelled_camera, labelled_photographs


@pytest.fixture(scope="session")
def _photographs(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_photographs(demo_data, tmp_path_factory.mktemp("photographs") / "labelled")


@pytest.fixture(scope="session")
def _camera(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_camera(demo_data, tmp_path_factory.mktemp("camera"))


@pytest.fixture
def photographs(_photographs: Path, tmp_path: Path) -> Path:
    """The embedded photographs as `label` leaves them: 32, and no camera."""
    return copied(_photographs, tmp_path / "photographs")


@pytest.fixture
def camera(_camera: Path, tmp_path: Path) -> Path:
    """Eight frames of one camera that stands still, as `label` leaves them."""
    return copied(_camera, tmp_path / "camera")
