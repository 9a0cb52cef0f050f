"""What is left of a detector's AP under the conditions of `evaluation.conditions`, in figures and on one photograph."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fcoslite.data.dataset import LabelledImage
from fcoslite.data.sources.source import Change, Source
from fcoslite.detections.detections import Detections
from fcoslite.detections.draw import contact_sheet, draw_detections
from fcoslite.evaluation.conditions import CONDITIONS, take
from fcoslite.evaluation.detection_errors import judge
from fcoslite.evaluation.evaluation import Evaluates, Evaluation
from fcoslite.progress import Progress, no_progress
from fcoslite.runs.figures import figure_text

_DAY = "day"
_MEAN = "mean"
_CELL = 480  # pixels

ConditionFigures = dict[str, dict[str, float]]


def evaluate_conditions(
    evaluator: Evaluates,
    source: Source,
    day: Evaluation,
    shown_from: float,
    batch_size: int,
    progress: Progress = no_progress,
) -> tuple[ConditionFigures, np.ndarray]:
    """Evaluate under each condition, and draw what is found on the photograph that goes best by day.

    Args:
        evaluator: Of the detector.
        source: The images.
        day: Its evaluation on them as they are.
        shown_from: Score from which detections are drawn.
        batch_size: Images at a time.
        progress: Told of every image.

    Returns:
        By `day`, condition and `mean`, which is that of the conditions: `ap`, `ap50` and `share`, of the AP by day;
        -1 where that is 0 or there is nothing to find. And the sheet, [h, w, 3] uint8, RGB.
    """
    shown = _best(day, shown_from)
    label = day.images[shown]
    pictures: dict[str, np.ndarray] = {}
    evaluations = {_DAY: day}
    for name in CONDITIONS:
        change = _keeping(name, label.image_id, pictures)
        evaluations[name] = evaluator.run(source, batch_size, _with_title(progress, name), change)
    surest = {name: _surest(each.detections[shown], shown_from) for name, each in evaluations.items()}
    drawn = [_draw(pictures[name], label, found) for name, found in surest.items()]
    titles = [f"{name}: AP {figure_text(each.metrics['ap'], 3)}" for name, each in evaluations.items()]
    return _figures(evaluations), contact_sheet(drawn, columns=3, cell_width=_CELL, titles=titles)


def _keeping(condition: str, image_id: int, pictures: dict[str, np.ndarray]) -> Change:
    """The condition, for a `Source`; of one image `pictures` keeps how it is and what became of it."""

    def change(image_rgb: np.ndarray, label: LabelledImage) -> np.ndarray:
        taken = take(condition, image_rgb, label.file_name)
        if label.image_id == image_id:
            pictures.update({_DAY: image_rgb.copy(), condition: taken})
        return taken

    return change


def _with_title(progress: Progress, condition: str) -> Progress:
    return lambda title, total, unit: progress(f"{title}: {condition}", total, unit)


def _figures(evaluations: Mapping[str, Evaluation]) -> ConditionFigures:
    by_day = evaluations[_DAY].metrics["ap"]
    figures = {}
    for name, evaluation in evaluations.items():
        ap, ap50 = evaluation.metrics["ap"], evaluation.metrics["ap50"]
        figures[name] = {"ap": ap, "ap50": ap50, "share": ap / by_day if by_day > 0 else -1.0}
    keys = figures[_DAY]
    figures[_MEAN] = {key: float(np.mean([figures[name][key] for name in CONDITIONS])) for key in keys}
    return figures


def _best(day: Evaluation, shown_from: float) -> int:
    """The place of the image with the best F1; of several, the one with the most persons."""
    judged = [judge(image, _surest(found, shown_from)) for image, found in zip(day.images, day.detections, strict=True)]
    return max(range(len(judged)), key=lambda place: (judged[place].f1, judged[place].kinds.count("matched")))


def _surest(found: Detections, least: float) -> Detections:
    return found.take(found.scores >= least)


def _draw(picture: np.ndarray, label: LabelledImage, found: Detections) -> np.ndarray:
    # a picture out of records is not as large as the original
    scale = np.array([picture.shape[1] / label.width, picture.shape[0] / label.height] * 2)
    return draw_detections(picture, replace(found, boxes_xyxy=found.boxes_xyxy * scale))
