"""The whole pipeline on the embedded photographs, through the functions that the commands call."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.data.embedded import embedded_data
from fcoslite.data.extract.extract import extract
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import encode_picture, read_labelled
from fcoslite.data.records.build import build_records
from fcoslite.detections.draw import contact_sheet, draw_detections
from fcoslite.errors import FcosliteError
from fcoslite.evaluation.evaluate import evaluate, plan_evaluation
from fcoslite.inference.predictor import Predictor
from fcoslite.models.header import model_settings
from fcoslite.progress import Progress, no_progress
from fcoslite.runs.find_weights import DEFAULT_WEIGHTS, config_of, find_weights
from fcoslite.training import loop
from fcoslite.training.plan import plan_run
from fcoslite.training.result import TrainingResult

_log = logging.getLogger("fcoslite")


@dataclass(frozen=True)
class DemoResult:
    """What the demo has made.

    Attributes:
        workspace: Its folder.
        produced: Rows of (what, where, figures).
        metrics: Of the packaged weights.
    """

    workspace: Path
    produced: list[tuple[str, Path, str]]
    metrics: dict[str, float]


def new_workspace(parent: Path) -> Path:
    """Make the next `demo-NNN` in `parent`."""
    for number in range(1, 1000):
        folder = parent / f"demo-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FcosliteError(f"{parent} holds 999 demos", "delete some demo-NNN folders")


def run_demo(workspace: Path, progress: Progress = no_progress) -> DemoResult:
    """Extract, build records, detect and draw with the packaged weights, fine-tune them, and evaluate both.

    Args:
        workspace: An empty folder.
        progress: Shown during every stage.
    """
    source, data, records = embedded_data(), workspace / "data" / "person", workspace / "records"
    runs, drawn = workspace / "runs", workspace / "drawn"
    database = f"sqlite:///{workspace / 'mlflow.db'}"
    values = {"workspace.mlflow_uri": database, "workspace.runs": str(runs)}
    weights = find_weights(DEFAULT_WEIGHTS, runs)
    size = model_settings(weights).image_size
    settings = load_settings("demo", values=values | {"model.image_size": size})
    trained_with = load_settings(config_of(weights))

    _log.info("1/6 extract the person class")
    extracted = extract(source / "annotations.json", source / "images", data, negatives=0.2, progress=progress)
    _log.info("2/6 letterbox into TFRecords of %d pixels", size)
    built = build_records(data, records, image_size=size, progress=progress)
    _log.info("3/6 detect and draw with the packaged weights, %s", DEFAULT_WEIGHTS)
    sheet = _draw(Predictor.load(weights, trained_with.webcam, many=True), data, drawn, progress)
    _log.info("4/6 evaluate them by COCO's rules")
    shipped = _evaluate(trained_with, weights, data, workspace / "eval", progress)
    _log.info("5/6 fine-tune them on these photographs, %d epochs", settings.finetune.epochs)
    tuned = loop.train(plan_run("finetune", settings, records, start_from=weights), runs, progress)
    _log.info("6/6 evaluate again")
    after = _evaluate(trained_with, tuned.run.best_weights, data, tuned.run.path / "eval", progress)

    produced = [
        ("person data set", data, f"{extracted.images} images, {extracted.boxes} boxes"),
        ("records", records, f"{built.images} images of {size} pixels, {built.size_bytes / 1e6:.1f} MB"),
        ("sheet of detections", sheet, f"by the packaged weights {DEFAULT_WEIGHTS}"),
        ("evaluation", workspace / "eval", f"{_ap(shipped)} on photographs they were not trained on"),
        ("fine-tuning run", tuned.run.path, _figures(tuned)),
        ("its evaluation", tuned.run.path / "eval", f"{_ap(after)} on the same photographs, now trained on"),
        ("chart of the losses", tuned.run.curves_file, ""),
        ("MLflow curves", workspace / "mlflow.db", f"mlflow ui --backend-store-uri {database}"),
    ]
    return DemoResult(workspace, produced, shipped)


def _evaluate(settings: Settings, weights: Path, data: Path, out: Path, progress: Progress) -> dict[str, float]:
    images = data / "images"
    plan = plan_evaluation(settings, weights, None, data / "annotations.json", images, out, engine="keras")
    metrics: dict[str, float] = evaluate(plan, settings.compute.batch_size, progress)["metrics"]
    return metrics


def _ap(metrics: dict[str, float]) -> str:
    return f"AP {metrics['ap']:.3f}, AP50 {metrics['ap50']:.3f}"


def _figures(result: TrainingResult) -> str:
    first = result.run.read_metrics()[0]["loss"]
    return f"{result.epochs} epochs, loss {first:.2f} to {result.metrics['loss']:.2f}"


def _draw(predictor: Predictor, data: Path, folder: Path, progress: Progress) -> Path:
    folder.mkdir()
    dataset = read_coco(data / "annotations.json", data / "images", predictor.class_names)
    pictures: list[Any] = []
    with progress("detecting", len(dataset.images), "images") as advance:
        for image in dataset.images:
            pixels = read_labelled(image, dataset.folder, dataset.follow_links)
            picture = draw_detections(pixels, predictor.predict(pixels))
            _save(picture, folder / image.file_name)
            pictures.append(picture)
            advance()
    sheet = folder / "sheet.png"
    _save(contact_sheet(pictures, columns=6, cell_width=320), sheet)
    return sheet


def _save(image_rgb: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_picture(image_rgb, path))
