"""Evaluation as `eval` does it: weights and data in, a folder with detections, metrics and charts out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fcoslite.config.listeners import (
    BY_KERAS,
    ON_RECORDS,
    WITH_CONDITIONS,
    WITHOUT_PLACE,
    check_overrides,
    overridden_keys,
)
from fcoslite.config.settings import Settings
from fcoslite.data.formats.box_forms import BoxForm
from fcoslite.data.formats.coco import to_coco_json
from fcoslite.data.formats.open import Format, data_of_run, open_data
from fcoslite.data.formats.table import to_dataset
from fcoslite.data.images import encode_picture
from fcoslite.data.sources.folder import FolderSource
from fcoslite.data.sources.records import RecordSource
from fcoslite.data.sources.source import Source
from fcoslite.data.sources.split import split, split_dataset
from fcoslite.detections.formats import to_results
from fcoslite.errors import ConfigError, DataError
from fcoslite.evaluation.conditions import CONDITIONS
from fcoslite.evaluation.day_and_night import evaluate_conditions
from fcoslite.evaluation.evaluation import Evaluates, evaluation_document
from fcoslite.evaluation.plots import plot_precision_recall, plot_sizes
from fcoslite.inference.about import About, about
from fcoslite.inference.runtimes.open import Engine, check_engine
from fcoslite.machine.backend import compile_with_xla, load_backend
from fcoslite.models.header import model_settings
from fcoslite.models.presets import architecture
from fcoslite.progress import Progress, no_progress
from fcoslite.runs.find_weights import packaged_weights, run_of
from fcoslite.runs.run import warn_of_change
from fcoslite.storage.files import replace_file
from fcoslite.storage.places import place
from fcoslite.storage.space import check_writable
from fcoslite.text import to_json

_log = logging.getLogger("fcoslite")


@dataclass(frozen=True)
class EvaluationPlan:
    """What will be evaluated on what.

    Attributes:
        class_names: That the detector knows.
        image_size: Of the detector, pixels.
        weights: Its file.
        engine: What runs it.
        source: The images.
        data: The annotation file or the records folder.
        category_ids: The data's category id by class id - 1, for detections.json.
        settings: Loss and thresholds.
        out: Folder that gets the files.
        skipped_records: Damaged records that are gone without; None unless that was asked for.
        conditions: Score under the conditions of `evaluation.conditions`, too.
    """

    class_names: tuple[str, ...]
    image_size: int
    weights: Path
    engine: Engine
    source: Source
    data: Path
    category_ids: tuple[int, ...]
    settings: Settings
    out: Path
    skipped_records: int | None
    conditions: bool

    def describe(self) -> dict[str, Any]:
        """The plan in plain words, for --dry-run."""
        return {
            "weights": str(self.weights),
            "engine": self.engine,
            "data": str(self.data),
            "images": len(self.source),
            **self.skipped(),
            "image_size": self.image_size,
            "classes": list(self.class_names),
            "score_threshold": self.settings.evaluate.score,
            "iou_threshold": self.settings.evaluate.iou,
            **({"conditions": list(CONDITIONS)} if self.conditions else {}),
            "out": str(self.out),
        }

    def skipped(self) -> dict[str, int]:
        """The count of skipped records as metrics.json has it, like run.json: with --skip-bad-records only."""
        return {} if self.skipped_records is None else {"skipped_records": self.skipped_records}


def plan_evaluation(
    settings: Settings,
    weights: Path,
    records: Path | None = None,
    annotations: Path | None = None,
    images: Path | None = None,
    out: Path | None = None,
    skip_bad_records: bool = False,
    progress: Progress = no_progress,
    conditions: bool = False,
    engine: Engine = "auto",
    overrides: Sequence[str] = (),
    form: Format | None = None,
    part: str | None = None,
    boxes: BoxForm = "xywh",
    command: Literal["eval", "eval --visits"] = "eval",
) -> EvaluationPlan:
    """Find out about the weights, open and check the data.

    Args:
        settings: Loss, thresholds, workspace.
        weights: A weights file, such as `runs.find_weights` finds.
        records: Folder of records; None: those the run was trained on, or the workspace's. Their validation part is
            used, or all of them where the set is too small to have one. Of a run that was trained on a COCO folder
            without records, the folder's validation part is.
        annotations: A data set, as `open_data` takes it: a COCO instances file, with `images`, or a folder in any
            format. All its images are used.
        images: Folder of its images.
        out: None is `eval/` in the run or beside the weights file, `eval-<name>/` here for packaged weights.
        skip_bad_records: Go without records that are damaged, instead of refusing them.
        progress: Told about the shards of records that are checked.
        conditions: Score under the conditions of `evaluation.conditions`, too: eight more passes over the data.
        engine: What runs the detector. `auto`: Keras on records, which TensorFlow reads and whose losses are told, too;
            else what `open_runtime` chooses.
        overrides: Those of the settings that were asked for, `section.key=value`. An image size among them takes the
            place of that of the weights.
        form: Format of the data set; None: recognised.
        part: The only split of the data set to use, such as val.
        boxes: What the numbers of a box of COCO are, if not x, y, width, height in pixels.
        command: Whose settings the overrides may be.

    Raises:
        WeightsError: The weights cannot be used.
        ConfigError: An override would change nothing, or they cannot be run at that size.
        DataError: The data cannot be used, or `out` not be written.
    """
    known = about(weights)
    check_engine(weights, engine)
    run = run_of(weights)
    named = annotations is not None
    own_folder = not named and records is None and run is not None and run.records is None
    on_records = not named and not own_folder
    image_size = known.image_size
    asked = {key for override in overrides for key in overridden_keys(override)}
    if "model.image_size" in asked:
        image_size = _checked_size(settings.model.image_size, known, weights)
    if engine == "auto" and weights.suffix == ".npz" and on_records:
        engine = "keras"
    circumstances = {
        ON_RECORDS: not named,  # the folder of a run is split as records are
        WITHOUT_PLACE: on_records and records is None,
        BY_KERAS: engine == "keras" and on_records,
        WITH_CONDITIONS: conditions,
    }
    check_overrides(command, overrides, [name for name, applies in circumstances.items() if applies])
    if "workspace.records" in asked:  # rather than those that the run was trained on
        records = place(settings.workspace.records)
    source: Source
    if annotations is not None:
        data = annotations
        table = open_data(annotations, images, known.class_names, part, form, boxes)
        if len(table.split_names) > 1:
            names = ", ".join(table.split_names)
            _log.warning("%s: all images are scored, of %s; --split val takes a part", annotations, names)
        dataset = to_dataset(table)
        unchecked = FolderSource(dataset, dataset.images, image_size, settings.compute.workers)
        source = unchecked.checked(skip_bad_records, progress)
        category_ids = dataset.category_ids
    elif records is None and run is not None and run.records is None:
        # without either, the run's folder has no annotations; what was rehearsed never validates
        facts = {key: value for key, value in {"data": str(run.path), **run.facts()}.items() if key != "rehearse"}
        data = Path(facts["data"])
        dataset = data_of_run(facts, known.class_names)
        ordered, parts = split_dataset(dataset, settings.data, settings.seed)
        if not parts.validation:
            raise DataError(
                f"{run.path} was trained on all images of {data}",
                "give --data, or --annotations and --images, or --records",
            )
        chosen = ordered[: len(parts.validation)]
        unchecked = FolderSource(dataset, chosen, image_size, settings.compute.workers)
        source = unchecked.checked(skip_bad_records, progress)
        category_ids = dataset.category_ids
    else:
        data = records or (run.records if run is not None else None) or place(settings.workspace.records)
        whole = RecordSource.open(data, settings.data, settings.compute, skip_bad_records)
        parts = split(len(whole), settings.data)
        source = whole.part(parts.validation or parts.training).checked(skip_bad_records, progress)
        category_ids = tuple(range(1, len(known.class_names) + 1))
    if run is not None and annotations is None:
        warn_of_change(run, data, source.fingerprint)
    if out is None:
        folder = run.path if run is not None else weights.parent
        out = Path(f"eval-{weights.stem}") if weights in packaged_weights().values() else folder / "eval"
    check_writable(out, "choose another folder with --out")
    skipped = len(source.bad) if skip_bad_records else None
    return EvaluationPlan(
        known.class_names,
        image_size,
        weights,
        engine,
        source,
        data,
        category_ids,
        settings,
        out,
        skipped,
        conditions,
    )


def _checked_size(size: int, known: About, weights: Path) -> int:
    """A size that was asked for, if the weights can be run at it."""
    if known.step == known.image_size != size:
        hint = f"evaluate the weights that it was made from, or export them with --size {size}"
        raise ConfigError(f"model.image_size is {size}, and {weights} is made for {known.image_size} pixels", hint)
    if weights.suffix == ".npz":
        architecture(model_settings(weights).model_copy(update={"image_size": size}))  # refuses what is no multiple
    elif size % known.step:
        raise ConfigError(f"model.image_size is {size}", f"{weights} takes multiples of {known.step}")
    return size


def evaluate(plan: EvaluationPlan, batch_size: int = 4, progress: Progress = no_progress) -> dict[str, Any]:
    """Evaluate, and write detections.json, ground_truth.json, metrics.json and the charts.

    detections.json is in COCO's results format, ground_truth.json in COCO's instances format: pycocotools scores the
    one against the other, or against the file that was given.

    Args:
        plan: From `plan_evaluation`.
        batch_size: Images at a time.
        progress: Told of every image.

    Returns:
        The document of metrics.json.
    """
    evaluator = open_evaluator(plan)
    evaluation = evaluator.run(plan.source, batch_size, progress)
    facts: dict[str, Any] = {"weights": str(plan.weights), "data": str(plan.data), "out": str(plan.out)}
    document = evaluation_document(evaluation, facts | plan.skipped())
    if plan.conditions:
        document["conditions"], sheet = evaluate_conditions(
            evaluator, plan.source, evaluation, plan.settings.webcam.score, batch_size, progress
        )
    results = to_results(evaluation.images, evaluation.detections, plan.category_ids)
    truth = to_coco_json(evaluation.images, plan.class_names, plan.category_ids)
    plan.out.mkdir(parents=True, exist_ok=True)
    for name, content in (("detections", results), ("ground_truth", truth), ("metrics", document)):
        replace_file(plan.out / f"{name}.json", to_json(content).encode())
    plot_precision_recall(evaluation.precision, plan.out / "precision_recall.png")
    plot_sizes(evaluation.metrics, plan.out / "sizes.png")
    if plan.conditions:
        replace_file(plan.out / "conditions.png", encode_picture(sheet, ".png"))
    return document


def open_evaluator(plan: EvaluationPlan) -> Evaluates:
    """Load the detector of a plan on its engine."""
    settings = plan.settings
    if plan.engine == "keras" and isinstance(plan.source, RecordSource):
        load_backend()
        from fcoslite.evaluation.evaluator import Evaluator
        from fcoslite.models.weights import load_detector

        detector, _ = load_detector(plan.weights, image_size=plan.image_size)
        return Evaluator(detector, settings.loss, settings.evaluate, compile_with_xla(settings.compute.compile))
    from fcoslite.evaluation.predictor_evaluator import PredictorEvaluator
    from fcoslite.inference.predictor import Predictor

    predictor = Predictor.load(plan.weights, settings.evaluate, plan.engine, many=True, image_size=plan.image_size)
    return PredictorEvaluator(predictor)
