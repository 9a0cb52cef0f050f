"""Runs to report on, all with the packaged weights, which find something."""

import json
import shutil
from pathlib import Path

import pytest

from fcoslite.config.load import load_settings
from fcoslite.data.extract.extract import extract
from fcoslite.runs.find_weights import config_of, packaged_weights
from fcoslite.runs.run import Run, create_run
from fcoslite.training.plan import TrainingPlan, plan_run


@pytest.fixture(scope="session")
def few(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Annotations and images of half of the photographs."""
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    document["images"] = document["images"][:16]
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
        _copy_weights(run)
    for epoch in range(1, epochs + 1):
        losses = {"loss": 3 / epoch, "val_loss": 2 + 1 / epoch, "val_ap": 0.11 * epoch}
        run.append_metrics({"epoch": epoch, "step": 5 * epoch, **losses, "images_per_second": 10.0 * epoch})
    return run


def _copy_weights(run: Run) -> None:
    for suffix in (".npz", ".onnx"):
        shutil.copy(packaged_weights()["lite0"].with_suffix(suffix), run.best_weights.with_suffix(suffix))


@pytest.fixture(scope="session")
def planned(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, TrainingPlan]:
    """A run of the packaged weights on a COCO folder, a fifth of which validates, and its plan."""
    folder = tmp_path_factory.mktemp("planned")
    extract(demo_data / "annotations.json", demo_data / "images", folder / "data")
    packaged = packaged_weights()["lite0"]
    values = {"workspace.runs": str(folder / "runs"), "data.validation_records": 1000}
    settings = load_settings(config_of(packaged), values=values)
    plan = plan_run("finetune", settings, data=folder / "data", start_from=packaged)
    run = create_run(folder / "runs", plan.verb, plan.name, plan.settings, plan.facts)
    _copy_weights(run)
    run.append_metrics({"epoch": 1, "step": 7, "loss": 1.0})
    return run, plan
