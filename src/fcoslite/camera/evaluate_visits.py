"""`eval --visits`: a detector on the frames of cameras, judged at many thresholds by who comes by."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby, islice
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.camera.stretches import MOST_APART_SECONDS, find_stretches
from fcoslite.camera.tracks import Track
from fcoslite.camera.visits import (
    LEAST_SECONDS,
    Judged,
    Row,
    Stretch,
    best_within,
    count,
    judge,
    needed_seconds,
)
from fcoslite.config.settings import DetectSettings
from fcoslite.data.capture import date_text
from fcoslite.data.dataset import LabelledImage
from fcoslite.data.formats.box_forms import BoxForm
from fcoslite.data.formats.open import Format, open_data
from fcoslite.data.formats.table import to_dataset
from fcoslite.data.sources.folder import FolderSource
from fcoslite.detections.detections import Detections
from fcoslite.errors import ConfigError, DataError
from fcoslite.evaluation.detection_errors import MATCH_IOU
from fcoslite.evaluation.evaluate import EvaluationPlan, open_evaluator, plan_evaluation
from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.inference.about import about
from fcoslite.inference.keep_score import place_of_score
from fcoslite.inference.runtimes.open import Engine
from fcoslite.inference.tracking import Tracking, check_tracking
from fcoslite.progress import Progress, no_progress

SCORES = tuple(round(0.1 + 0.05 * step, 2) for step in range(17))  # that are tried


@dataclass(frozen=True)
class VisitsPlan:
    """What will be detected on what.

    Attributes:
        evaluation: The weights, and a source of the frames of all stretches.
        stretches: What is judged.
        left_out: Images of the data that are in no stretch, or cannot be read.
        own_score: The threshold that the weights have now.
        alarms_per_day: The most false alarms that are wanted; None: that is not said.
        place: The config that will get the threshold that keeps them so few; None: it is not to be written.
    """

    evaluation: EvaluationPlan
    stretches: tuple[Stretch, ...]
    left_out: int
    own_score: float
    alarms_per_day: float | None
    place: Path | None

    @property
    def watched_seconds(self) -> float:
        """All stretches together, each from its first frame to its last."""
        return sum(stretch.length for stretch in self.stretches)

    @property
    def visits(self) -> int:
        """How many there are."""
        return sum(len(stretch.visits) for stretch in self.stretches)

    def facts(self) -> dict[str, Any]:
        """What is watched, and by what."""
        apart = np.concatenate([np.diff(stretch.seconds) for stretch in self.stretches])
        return {
            "weights": str(self.evaluation.weights),
            "data": str(self.evaluation.data),
            "watched_seconds": round(self.watched_seconds, 3),
            "frames": sum(len(stretch.images) for stretch in self.stretches),
            "left_out": self.left_out,
            "seconds_apart": round(float(np.median(apart)), 3),
            "cameras": [
                {"camera": camera, "stretches": len(part), "seconds": round(sum(one.length for one in part), 3)}
                for camera, part in _by_camera(self.stretches)
            ],
            "visits": self.visits,
        }

    def describe(self) -> dict[str, Any]:
        """The plan in plain words, for --dry-run."""
        plan = self.evaluation
        return {
            **self.facts(),
            "engine": plan.engine,
            "image_size": plan.image_size,
            "score_now": self.own_score,
            "alarms_per_day": self.alarms_per_day,
            "would_write": None if self.place is None else str(self.place),
            "out": str(plan.out),
        }


@dataclass(frozen=True, eq=False)
class Shown:
    """A miss or a false alarm, in the frame that shows it best.

    Attributes:
        camera: Its name.
        began: When, in UTC.
        seconds: How long it lasts.
        image: The frame.
        found: All boxes on it.
        box_xyxy: [4], pixels, the label or the false box.
        best_score: Of the boxes of the false alarm that are on nobody; of a miss, that of any box on the visitor at any
            time, None where there is none.
        is_miss: Else it is a false alarm.
    """

    camera: str
    began: datetime
    seconds: float
    image: LabelledImage
    found: Detections
    box_xyxy: np.ndarray
    best_score: float | None
    is_miss: bool

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "camera": self.camera,
            "began": date_text(self.began),
            "seconds": round(self.seconds, 3),
            "image": self.image.file_name,
            "box_xyxy": [round(side, 2) for side in self.box_xyxy.tolist()],
            "best_score": None if self.best_score is None else round(self.best_score, 4),
        }


@dataclass(frozen=True, eq=False)
class Outcome:
    """How the watcher fares.

    Attributes:
        plan: What was detected on what.
        found: Of each stretch, what is in each of its frames, from `lowest_score` on.
        rows: By threshold, ascending.
        chosen: The row of the threshold that keeps false alarms as few as is wanted; None if none does, or nothing was
            said.
        judged: Of each stretch, at `score`.
    """

    plan: VisitsPlan
    found: tuple[tuple[Detections, ...], ...]
    rows: tuple[Row, ...]
    chosen: Row | None
    judged: tuple[Judged, ...]

    @property
    def score(self) -> float:
        """The threshold whose misses and false alarms are listed: the chosen one, else that of the weights."""
        return self.plan.own_score if self.chosen is None else self.chosen.score

    @property
    def notes(self) -> list[str]:
        """What is to be known before the figures are believed."""
        plan, wanted = self.plan, self.plan.alarms_per_day
        notes = []
        if plan.left_out:
            notes.append(
                f"{plan.left_out:,} images are left out: without a time or camera, unreadable, or in no stretch of "
                f"frames {MOST_APART_SECONDS:g} s apart at most"
            )
        if wanted is not None and plan.watched_seconds < (needed := needed_seconds(wanted)):
            much = "" if needed == inf else f": that takes {_span(needed)} without any (95 %)"
            notes.append(
                f"{plan.watched_seconds:,.4g} s are too short to tell whether there are more than {wanted:g} false "
                f"alarms a day{much}"
            )
        if wanted is not None and self.chosen is None:
            least = min(row.false_alarms_per_day for row in self.rows)
            notes.append(f"no threshold keeps false alarms to {wanted:g} a day; the fewest are {least:,.4g}")
        return notes

    @property
    def missed(self) -> list[Shown]:
        """The visits that were missed."""
        return [
            _shown(one.stretch, found, visit, visit.best, _best_score_on(found, visit), is_miss=True)
            for one, found in zip(self.judged, self.found, strict=True)
            for visit, seconds in zip(one.stretch.visits, one.found, strict=True)
            if seconds is None
        ]

    @property
    def false_alarms(self) -> list[Shown]:
        """The calls for nobody."""
        return [
            _shown(one.stretch, found, alarm.call, alarm.worst, float(alarm.call.scores[alarm.worst]), is_miss=False)
            for one, found in zip(self.judged, self.found, strict=True)
            for alarm in one.false_alarms
        ]

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            **self.plan.facts(),
            "thresholds": [asdict(row) for row in self.rows],
            "score_now": self.plan.own_score,
            "alarms_per_day": self.plan.alarms_per_day,
            "chosen": None if self.chosen is None else asdict(self.chosen),
            "at_score": self.score,
            "notes": self.notes,
            "missed": [one.document() for one in self.missed],
            "false_alarms": [one.document() for one in self.false_alarms],
        }


def plan_visits(
    weights: Path,
    data: Path,
    images: Path | None = None,
    out: Path | None = None,
    skip_bad_records: bool = False,
    engine: Engine = "auto",
    overrides: Sequence[str] = (),
    form: Format | None = None,
    part: str | None = None,
    boxes: BoxForm = "xywh",
    alarms_per_day: float | None = None,
    write_score: bool = False,
    progress: Progress = no_progress,
) -> VisitsPlan:
    """Find the stretches of frames in a data set, and who comes by in them.

    Args:
        weights: A weights file, such as `runs.find_weights` finds, or an exported one.
        data: The data set, as `open_data` takes it. Its images say when and by what camera they were taken.
        images: Folder of its images.
        out: Folder for the files; None: as of `plan_evaluation`.
        skip_bad_records: Go without images that cannot be read.
        engine: What runs the detector.
        overrides: Settings that were asked for.
        form: Format of the data set; None: recognised.
        part: The only split of the data set to use.
        boxes: What the numbers of a box of COCO are.
        alarms_per_day: The most false alarms that are wanted; None: say nothing of that.
        write_score: The threshold that keeps them so few will be written to the config of the weights.
        progress: Told about images that are checked.

    Raises:
        FcosliteError: What tracks is not installed.
        WeightsError: The weights cannot be used.
        ConfigError: An argument is not allowed, or the weights have no config that could be written.
        DataError: The data cannot be used, nobody can be tracked in them, or nobody comes by.
    """
    check_tracking()
    if write_score and alarms_per_day is None:
        raise ConfigError("there is no threshold to write", "say how many false alarms are allowed: --alarms-per-day N")
    place = place_of_score(weights) if write_score else None
    settings = about(weights, overrides).settings
    lowest = Tracking(min(*SCORES, settings.webcam.score)).helping_score
    settings = settings.model_copy(update={"evaluate": DetectSettings(score=lowest, iou=settings.webcam.iou)})
    table = open_data(data, images, about(weights).class_names, part, form, boxes)
    find_stretches(table, to_dataset(table).images)  # before all are decoded: there may be nothing to track in
    evaluation = plan_evaluation(
        settings,
        weights,
        annotations=data,
        images=images,
        out=out,
        skip_bad_records=skip_bad_records,
        progress=progress,
        engine=engine,
        overrides=overrides,
        form=form,
        part=part,
        boxes=boxes,
        command="eval --visits",
    )
    source = evaluation.source
    assert isinstance(source, FolderSource)  # of data that are named
    usable = [image for place, image in enumerate(source.images) if place not in source.bad]
    stretches = find_stretches(table, usable)
    frames = tuple(image for stretch in stretches for image in stretch.images)
    evaluation = replace(evaluation, source=replace(source, images=frames, bad=frozenset()))
    left_out = len(source.images) - len(frames)
    plan = VisitsPlan(evaluation, tuple(stretches), left_out, settings.webcam.score, alarms_per_day, place)
    if not plan.visits:
        message = f"{data}: no labelled person stays for {LEAST_SECONDS:g} s"
        raise DataError(
            f"{message} in the {plan.watched_seconds:,.4g} s watched",
            "take frames in which people come by; without visits there is nothing to find",
        )
    return plan


def evaluate_visits(plan: VisitsPlan, batch_size: int = 4, progress: Progress = no_progress) -> Outcome:
    """Detect on every frame once, and judge at every threshold.

    Args:
        plan: From `plan_visits`.
        batch_size: Images at a time.
        progress: Told of every frame, and of every threshold.
    """
    detections = iter(open_evaluator(plan.evaluation).run(plan.evaluation.source, batch_size, progress).detections)
    found = tuple(tuple(islice(detections, len(stretch.images))) for stretch in plan.stretches)

    def judge_all(score: float) -> tuple[Judged, ...]:
        return tuple(judge(stretch, each, score) for stretch, each in zip(plan.stretches, found, strict=True))

    rows = []
    scores = sorted({*SCORES, plan.own_score})
    with progress("judging", len(scores), "thresholds") as advance:
        for score in scores:
            rows.append(count(judge_all(score), score))
            advance()
    chosen = None if plan.alarms_per_day is None else best_within(rows, plan.alarms_per_day, plan.own_score)
    return Outcome(plan, found, tuple(rows), chosen, judge_all(plan.own_score if chosen is None else chosen.score))


def _best_score_on(found: Sequence[Detections], visit: Track) -> float | None:
    """Of any box on a visit, however little it scores and however short it lasts; None if there is none."""
    scores: list[float] = []
    for frame, box in zip(visit.frames.tolist(), visit.boxes_xyxy, strict=True):
        each = found[frame]
        on = pairwise_iou(each.boxes_xyxy, box[None], np.zeros(1, bool))[:, 0] >= MATCH_IOU
        scores += each.scores[on & (each.class_ids == visit.class_id)].tolist()
    return max(scores, default=None)


def _shown(
    stretch: Stretch, found: Sequence[Detections], track: Track, place: int, best_score: float | None, is_miss: bool
) -> Shown:
    frame = int(track.frames[place])
    return Shown(
        camera=stretch.camera,
        began=stretch.started + timedelta(seconds=track.start),
        seconds=track.length,
        image=stretch.images[frame],
        found=found[frame],
        box_xyxy=track.boxes_xyxy[place],
        best_score=best_score,
        is_miss=is_miss,
    )


def _span(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.3g} {name}"
    return f"{seconds:,.3g} s"


def _by_camera(stretches: Sequence[Stretch]) -> list[tuple[str, list[Stretch]]]:
    return [(camera, list(part)) for camera, part in groupby(stretches, key=lambda stretch: stretch.camera)]
