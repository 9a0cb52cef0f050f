"""The evaluation in a report: all its runs on the same images, with what each gets most wrong."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcoslite.data.dataset import LabelledImage
from fcoslite.data.embedded import embedded_data
from fcoslite.data.images import encode_picture
from fcoslite.data.records.manifest import load_manifest
from fcoslite.data.sources.folder import FolderSource
from fcoslite.data.sources.source import Source
from fcoslite.data.sources.split import split
from fcoslite.errors import FcosliteError
from fcoslite.evaluation.detection_errors import (
    MATCH_IOU,
    WorstError,
    error_figures,
    judge_evaluation,
    worst_false_detections,
    worst_misses,
)
from fcoslite.evaluation.error_pictures import draw_error
from fcoslite.evaluation.evaluate import EvaluationPlan, open_evaluator, plan_evaluation
from fcoslite.evaluation.evaluation import Evaluation, evaluation_document
from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.inference.about import about
from fcoslite.inference.predictor import Predictor
from fcoslite.progress import Progress, no_progress
from fcoslite.runs.run import Run

_WORST = 8  # of each kind that are shown
_CELL = 300  # pixels
_TIMED = 2 * _WORST  # pictures

_log = logging.getLogger("fcoslite")


@dataclass(frozen=True)
class ErrorPicture:
    """A mistake to look at.

    Attributes:
        jpeg: The file's content.
        file_name: Of the image.
        caption: What is wrong with it.
        score: Of the false box; of a missed object, the best one of any box on it, None where there is none.
    """

    jpeg: bytes
    file_name: str
    caption: str
    score: float | None


@dataclass(frozen=True)
class Scored:
    """A run's evaluation.

    Attributes:
        document: Weights, data, images, boxes and metrics, as in the metrics.json of `eval`.
        precision: [10, 101], precision by IoU threshold and recall.
        least_score: From which on boxes count for the errors: the webcam's threshold.
        errors: Of `error_figures`, at that score.
        misses: The largest objects missed.
        false_alarms: The wrong boxes of the highest scores.
        milliseconds: For one picture by itself, from pixels to boxes, the fastest of some: others may keep the machine
            busy. None where there is no picture.
        device: What ran the network for that.
    """

    document: dict[str, Any]
    precision: np.ndarray
    least_score: float
    errors: dict[str, Any]
    misses: list[ErrorPicture]
    false_alarms: list[ErrorPicture]
    milliseconds: float | None
    device: str


@dataclass(frozen=True)
class ScoringPlan:
    """What will be evaluated on what.

    Attributes:
        title: The images, in words.
        plans: One per run; None of one that cannot be evaluated.
        notes: By run, why not; empty where it is.
    """

    title: str
    plans: list[EvaluationPlan | None]
    notes: list[str]


def plan_scoring(
    runs: Sequence[Run], annotations: Path | None, images: Path | None, out: Path, progress: Progress = no_progress
) -> ScoringPlan:
    """Choose the images that all runs are evaluated on, and check them.

    They are those that are named, else the runs' own validation images where these are the same for all, else the
    photographs that are embedded in the package. A run without weights, or that knows other classes than the images
    show, is left out; what is wrong with data that was named is an error.

    Args:
        runs: Their best weights are evaluated.
        annotations: COCO instances file, with `images`.
        images: Folder of its images.
        out: Folder of the report.
        progress: Told about images that are checked.

    Raises:
        DataError: The images that were named cannot be used.
        WeightsError: Weights cannot be used for them.
    """
    embedded = embedded_data()
    plans: list[EvaluationPlan | None] = [None] * len(runs)
    notes = ["" if run.best_weights.is_file() else "has no weights yet: not evaluated" for run in runs]
    ready = [place for place, note in enumerate(notes) if not note]
    if annotations is not None and images is not None:
        title = f"the images of {annotations}"
        for place in ready:
            plans[place] = _plan(runs[place], annotations, images, out, progress)
        return ScoringPlan(title, plans, notes)
    if _validate_alike([runs[place] for place in ready]):
        try:
            own = [_plan(runs[place], None, None, out, progress) for place in ready]
            _check_unchanged([runs[place] for place in ready], own)
            for place, plan in zip(ready, own, strict=True):
                plans[place] = plan
            return ScoringPlan("the runs' own validation images", plans, notes)
        except FcosliteError as error:
            _log.warning("not evaluated on the validation images of training: %s", error.message)
    for place in ready:
        try:
            plans[place] = _plan(runs[place], embedded / "annotations.json", embedded / "images", out, progress)
        except FcosliteError as error:
            notes[place] = f"is not evaluated: {error.message}"
    title = "the photographs embedded in the package: few, so these figures say little"
    return ScoringPlan(title, plans, notes)


def _plan(run: Run, annotations: Path | None, images: Path | None, out: Path, progress: Progress) -> EvaluationPlan:
    settings = about(run.best_weights).settings
    return plan_evaluation(settings, run.best_weights, None, annotations, images, out, progress=progress)


def _validate_alike(runs: Sequence[Run]) -> bool:
    """Whether all runs have set aside the same images for validation, and some."""
    parts = set()
    for run in runs:
        try:
            facts, settings = run.facts(), run.settings()
        except FcosliteError:
            return False
        if not settings.data.validation_records:
            return False
        seed = None if "records" in facts else settings.seed  # a folder is shuffled by it, records have been
        data = (facts.get("records"), facts.get("data"), facts.get("fingerprint"))
        parts.add((*data, settings.data.validation_records, seed))
    return len(parts) == 1


def _check_unchanged(runs: Sequence[Run], plans: Sequence[EvaluationPlan]) -> None:
    """See that the validation images of today are those of training.

    Raises:
        FcosliteError: They are not, or the set was too small to set any aside.
    """
    for run, plan in zip(runs, plans, strict=True):
        if plan.source.fingerprint != run.facts().get("fingerprint"):
            raise FcosliteError(f"{plan.data} is not what {run.name} was trained on")
        if run.records is not None and not split(load_manifest(run.records).count, plan.settings.data).validation:
            raise FcosliteError(f"{plan.data} has no validation part")


def score(plan: EvaluationPlan, progress: Progress = no_progress) -> Scored:
    """Evaluate a run, look for its worst errors, and time it."""
    evaluation = open_evaluator(plan).run(plan.source, plan.settings.compute.batch_size, progress)
    least = plan.settings.webcam.score
    judged = judge_evaluation(evaluation, len(plan.class_names), least)
    misses, wrong = worst_misses(judged, _WORST), worst_false_detections(judged, _WORST)
    wanted = {error.judged.image.image_id for error in (*misses, *wrong)}
    wanted |= {image.image_id for image in evaluation.images[: _TIMED - len(wanted)]}
    pictures = _read(plan.source, wanted)
    milliseconds, device = _time(plan, list(pictures.values())[:_TIMED])
    return Scored(
        document=evaluation_document(evaluation, {"weights": str(plan.weights), "data": str(plan.data)}),
        precision=evaluation.precision,
        least_score=least,
        errors=error_figures(judged),
        misses=[_picture(error, evaluation, pictures, plan.class_names) for error in misses],
        false_alarms=[_picture(error, evaluation, pictures, plan.class_names) for error in wrong],
        milliseconds=milliseconds,
        device=device,
    )


def _read(source: Source, wanted: set[int]) -> dict[int, np.ndarray]:
    """The pixels of some images by image id, [h, w, 3], in the size of the original."""
    if isinstance(source, FolderSource):  # the others need not be decoded again
        source = replace(source, images=tuple(one for one in source.images if one.image_id in wanted), bad=frozenset())
    pictures: dict[int, np.ndarray] = {}

    def keep(pixels: np.ndarray, label: LabelledImage) -> np.ndarray:
        if label.image_id in wanted:
            # records are letterboxed
            pictures[label.image_id] = cv2.resize(pixels, (label.width, label.height))
        return pixels

    for _ in source.evaluation_batches(1, keep):
        pass
    return pictures


def _time(plan: EvaluationPlan, pictures: Sequence[np.ndarray]) -> tuple[float | None, str]:
    predictor = Predictor.load(plan.weights, plan.settings.webcam, plan.engine)
    predictor.warm_up()
    seconds = []
    for picture in pictures:
        began = time.perf_counter()
        predictor.predict(picture)
        seconds.append(time.perf_counter() - began)
    return (1000 * min(seconds) if seconds else None), predictor.device


def _picture(
    error: WorstError, evaluation: Evaluation, pictures: dict[int, np.ndarray], class_names: Sequence[str]
) -> ErrorPicture:
    image, found = error.judged.image, error.judged.found
    missed = error.score is None
    class_id = int((image if missed else found).class_ids[0])  # an image is judged class by class
    score = _best_score(error, evaluation, class_id) if missed else error.score
    caption = f"{class_names[class_id - 1]}: {error.caption}" if len(class_names) > 1 else error.caption
    drawn = draw_error(error, pictures[image.image_id], _CELL)
    return ErrorPicture(encode_picture(drawn, ".jpg", jpeg_quality=82), image.file_name, caption, score)


def _best_score(error: WorstError, evaluation: Evaluation, class_id: int) -> float | None:
    """Of the boxes on a missed object, which score too little to count or are nearer to another; None of none."""
    place = [image.image_id for image in evaluation.images].index(error.judged.image.image_id)
    found = evaluation.detections[place]
    overlaps = pairwise_iou(found.boxes_xyxy, error.box_xyxy[None], np.zeros(1, bool))[:, 0]
    scores = found.scores[(overlaps >= MATCH_IOU) & (found.class_ids == class_id)]
    return float(scores.max()) if len(scores) else None
