"""Store trained weights in the package, with all that is known about them.

    python tools/package_weights.py NAME RUN OPTIONS
    python tools/package_weights.py NAME WEIGHTS.npz --config FILE --trained-on TRAIN.json [--also TEXT] ... OPTIONS

with OPTIONS --annotations VAL.json --images DIR --hours H --hardware TEXT [--image-size S]

takes a run's best weights, or those of tools/gpu with the config and the data that belong to them, and writes into
src/fcoslite/weights/
    NAME.npz   kernels in float16, everything else in float32
    NAME.onnx  the same for ONNX Runtime, also stored in float16
    NAME.yaml  the config it was trained with; `eval` and `webcam` take their thresholds from it
    NAME.json  SHA-256, the runs that led to it, the images it was trained on, and COCO's figures of the stored file on
               the validation images and on the embedded photographs
"""

import argparse
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np

from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.data.embedded import embedded_data
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.data.sources.folder import FolderSource
from fcoslite.data.sources.records import RecordSource
from fcoslite.data.sources.split import split
from fcoslite.evaluation.predictor_evaluator import PredictorEvaluator
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes.onnx_copy import write_onnx
from fcoslite.runs.find_weights import run_of
from fcoslite.runs.run import Run, open_run
from fcoslite.storage.arrays import read_arrays, read_header, write_arrays

_WEIGHTS = Path(__file__).parent.parent / "src" / "fcoslite" / "weights"
_FIGURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_100")


@dataclass(frozen=True)
class Origin:
    """Where weights come from.

    Attributes:
        weights: Their file.
        settings: They were trained with.
        runs: What led to them, oldest first.
        training_images: File names.
    """

    weights: Path
    settings: Settings
    runs: list[dict[str, Any]]
    training_images: list[str]


def main() -> None:
    """Store, score what was stored, and write down both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("trained", type=Path, metavar="RUN|WEIGHTS")
    parser.add_argument("--config", help="of a weights file")
    parser.add_argument("--trained-on", type=Path, action="append", default=[], help="COCO file, for a weights file")
    parser.add_argument("--also", action="append", default=[], help="other photographs it was trained on, in words")
    parser.add_argument("--annotations", type=Path, required=True, help="validation images, never trained on")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--image-size", type=int, help="pixels of the stored detector; the run's where not given")
    parser.add_argument("--hours", type=float, required=True, help="training time in all")
    parser.add_argument("--hardware", required=True)
    options = parser.parse_args()

    origin = _of_file(options) if options.trained.suffix == ".npz" else _of_run(open_run(options.trained, Path()))
    settings = origin.settings
    if options.image_size:
        model = settings.model.model_copy(update={"image_size": options.image_size})
        settings = settings.model_copy(update={"model": model})
    arrays, header = read_arrays(origin.weights)
    header["model"]["image_size"] = settings.model.image_size
    halved = {name: array.astype(np.float16) if array.ndim == 4 else array for name, array in arrays.items()}
    target = _WEIGHTS / f"{options.name}.npz"
    write_arrays(target, halved, {"kind": "weights", "model": header["model"]})
    portable = settings.model_copy(update={"name": options.name, "workspace": Settings().workspace})
    target.with_suffix(".yaml").write_text(portable.to_yaml(), "utf-8")
    write_onnx(target, target.with_suffix(".onnx"), "float16")

    document: dict[str, Any] = {
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "runs": origin.runs,
        "hours": options.hours,
        "hardware": options.hardware,
        "validation": _score(target, settings, options.annotations, options.images),
        "embedded": _score(target, settings, embedded_data() / "annotations.json", embedded_data() / "images"),
        "training_images": origin.training_images,
        **({"trained_also_on": options.also} if options.also else {}),
    }
    target.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(json.dumps({key: value for key, value in document.items() if key != "training_images"}, indent=1))
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB, {len(document['training_images'])} training images")


def _of_run(run: Run) -> Origin:
    chain = _chain(run)
    runs = [{"name": one.name, "created": one.facts()["created"], **_schedule(one)} for one in chain]
    return Origin(run.best_weights, run.settings(), runs, _training_images(chain[0]))


def _of_file(options: argparse.Namespace) -> Origin:
    header = read_header(options.trained)
    settings = load_settings(options.config)
    names = [image.file_name for path in options.trained_on for image in open_coco(path, None).images]
    facts: dict[str, Any] = {key: header[key] for key in ("step", "images") if key in header}
    runs = [{"name": settings.name, "image_size": settings.model.image_size, **facts}]
    return Origin(options.trained, settings, runs, sorted(names))


def _chain(run: Run) -> list[Run]:
    """The runs that led to this one, oldest first."""
    start = run.facts().get("start_from")
    parent = run_of(Path(start)) if start else None
    return [*(_chain(parent) if parent is not None else []), run]


def _schedule(run: Run) -> dict[str, Any]:
    lines, settings = run.read_metrics(), run.settings()
    return {
        "image_size": settings.model.image_size,
        "epochs": lines[-1]["epoch"],
        "steps": lines[-1]["step"],
        "batch_size": settings.compute.batch_size,
    }


def _score(weights: Path, settings: Settings, annotations: Path, images: Path) -> dict[str, Any]:
    predictor = Predictor.load(weights, settings.evaluate, many=True)
    dataset = read_coco(annotations, images, predictor.class_names)
    source = FolderSource(dataset, dataset.images, predictor.image_size, settings.compute.workers)
    evaluation = PredictorEvaluator(predictor).run(source, batch_size=1)
    return {"images": len(source), **{key: round(evaluation.metrics[key], 4) for key in _FIGURES}}


def _training_images(run: Run) -> list[str]:
    """File names, from the records that the first run was trained on."""
    settings, records = run.settings(), run.records
    assert records is not None, "a run without records has no list"
    source = RecordSource.open(records, settings.data, settings.compute)
    part = source.part(split(len(source), settings.data).training)
    return sorted(label.file_name for _, labels in part.evaluation_batches(64) for label in labels)


if __name__ == "__main__":
    main()
