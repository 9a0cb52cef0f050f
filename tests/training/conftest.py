"""A small workspace of embedded photographs, a third of whose boxes a detector might have drawn."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.data.extract.extract import extract
from fcoslite.data.records.build import build_records
from fcoslite.runs.mlflow_copy import _connect as connect
from fcoslite.training import recorder
from tests.compiled import lending

# a slim model and 64 pixels: every part is real, only narrower; all that a checkpoint must hold is switched on. Of one
# level, because backbone and graph grow with them, and tracing the graph is most of a run's time
SLIM = [
    "model.strides=[4]",
    "model.head_depth=1",
    "model.neck_channels=32",
    "model.head_channels=16",
    "model.distance_bins=5",
    "model.image_size=64",
    "compute.batch_size=4",
    "compute.accumulation=3",
    "train.early_stopping_epochs=100",
    "train.validate_every=1",
    "train.warmup_steps=2",
    "train.ema=0.9",
    "augment.scale=[0.8, 1.5]",
    "augment.mosaic=0.5",
]


@pytest.fixture(scope="session")
def workspace(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    document = json.loads((demo_data / "annotations.json").read_text())
    for annotation in document["annotations"][::3]:
        annotation["score"] = 0.2 + annotation["id"] % 7 / 10
    (folder / "scored.json").write_text(json.dumps(document))
    extract(folder / "scored.json", demo_data / "images", folder / "data")
    build_records(folder / "data", folder / "records", image_size=64)
    return folder


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes it, which takes it some seconds."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(scope="session")
def slim_settings(empty_store: Path) -> Callable[[Path], Settings]:
    """Settings of the slim model, with everything it writes in a folder."""

    def make(folder: Path) -> Settings:
        shutil.copy(empty_store, folder / "mlflow.db")
        places = [f"workspace.runs={folder / 'runs'}", f"workspace.mlflow_uri=sqlite:///{folder / 'mlflow.db'}"]
        return load_settings("smoke", [*SLIM, *places])

    return make


@pytest.fixture
def slim(tmp_path: Path, slim_settings: Callable[[Path], Settings]) -> Settings:
    """The slim model in the test's own folder."""
    return slim_settings(tmp_path)


@pytest.fixture(autouse=True)
def lent() -> Iterator[pytest.MonkeyPatch]:
    """Runs borrow what was compiled for the one before, and draw no curves; `undo()` ends that within a test."""
    with lending() as patch:
        patch.setattr(recorder, "plot_curves", lambda lines, file: None)
        yield patch
