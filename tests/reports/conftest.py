"""Runs to report on: of the packaged weights on a few photographs, and one that is trained."""

import json
import shutil
from pathlib import Path

import pytest

from fcoslite.config.load import load_settings
from fcoslite.data.extract.extract import extract
from fcoslite.runs.find_weights import config_of, packaged_weights
from fcoslite.runs.run import Run, create_run
from fcoslite.training import loop
from fcoslite.training.plan import plan_run
from tests.training.conftest import SLIM


@pytest.fixture(scope="session")
def few(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Annotations and images of eight of the photographs."""
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    document["images"] = document["images"][:8]
    kept = {image["id"] for image in document["images"]}
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] in kept]
    file = tmp_path_factory.mktemp("few") / "few.json"
    file.write_text(json.dumps(document), "utf-8")
    return file, demo_data / "images"


def make_run(folder: Path, name: str = "shown", weights: bool = True, epochs: int = 3, **values: object) -> Run:
    """A run with the packaged weights, and an epoch's losses a line."""
    packaged = packaged_weights()["lite0"]
    settings = load_settings(config_of(packaged), values={"name": name, **values})
    run = create_run(folder, "finetune", name, settings, {"data": "gone"})
    if weights:
        for suffix in (".npz", ".onnx"):
            shutil.copy(packaged.with_suffix(suffix), run.best_weights.with_suffix(suffix))
    for epoch in range(1, epochs + 1):
        losses = {"loss": 3 / epoch, "val_loss": 2 + 1 / epoch, "val_ap": 0.11 * epoch}
        run.append_metrics({"epoch": epoch, "step": 5 * epoch, **losses, "images_per_second": 10.0 * epoch})
    return run


@pytest.fixture(scope="session")
def trained(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A slim model, trained for two epochs on a COCO folder, a fifth of which validates."""
    folder = tmp_path_factory.mktemp("trained")
    extract(demo_data / "annotations.json", demo_data / "images", folder / "data")
    places = [f"workspace.runs={folder / 'runs'}", f"workspace.mlflow_uri=sqlite:///{folder / 'mlflow.db'}"]
    settings = load_settings("smoke", [*SLIM, *places, "train.epochs=2", "data.validation_records=5"])
    return loop.train(plan_run("train", settings, data=folder / "data"), folder / "runs").run
