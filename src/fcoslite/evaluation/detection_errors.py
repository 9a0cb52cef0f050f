"""What a person detector gets right and wrong at one score threshold, after the idea of TIDE (arXiv 2008.08115).

Used by reports and by tools/model_card.py.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fcoslite.data.box_sizes import SIZES, sizes_of
from fcoslite.data.dataset import Dataset, LabelledImage
from fcoslite.data.images import read_labelled
from fcoslite.detections.detections import Detections
from fcoslite.evaluation.evaluation import Evaluation
from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.inference.predictor import Predictor
from fcoslite.progress import Progress, no_progress

MATCH_IOU = 0.5
NEAR_IOU = 0.1
FALSE_KINDS = ("localisation", "duplicate", "background")
NO_OBJECT = "no annotated object"


@dataclass(frozen=True)
class JudgedImage:
    """An image's detections and persons, compared.

    Attributes:
        image: Ground truth.
        found: Detections, best score first.
        kinds: One per detection: `matched`; `ignored`, at least half of it on a crowd; or one of `FALSE_KINDS`:
            `duplicate`, its person has a better one; `localisation`, its IoU with a person is 0.1 to 0.5; `background`.
        missed: [N] bool, the person has no match; crowds are never missed.
        best_iou: [N], of each person with any detection.
    """

    image: LabelledImage
    found: Detections
    kinds: tuple[str, ...]
    missed: np.ndarray
    best_iou: np.ndarray

    @property
    def f1(self) -> float:
        """Harmonic mean of the image's precision and recall; 1 where there is nothing to find and nothing found."""
        true = self.kinds.count("matched")
        wrong = int(self.missed.sum()) + sum(kind in FALSE_KINDS for kind in self.kinds)
        return 2 * true / (2 * true + wrong) if true or wrong else 1.0


def judge(image: LabelledImage, found: Detections) -> JudgedImage:
    """Match detections to persons as COCO does at IoU 0.5, best score first, and name the kind of every other one."""
    overlaps = pairwise_iou(found.boxes_xyxy, image.boxes_xyxy, image.iscrowd)
    free = ~image.iscrowd
    kinds = []
    for row in overlaps:
        candidates = np.where(free, row, 0.0)
        nearest = row[~image.iscrowd].max(initial=0.0)
        if candidates.max(initial=0.0) >= MATCH_IOU:
            free[candidates.argmax()] = False
            kinds.append("matched")
        elif row[image.iscrowd].max(initial=0.0) >= MATCH_IOU:
            kinds.append("ignored")
        elif nearest >= MATCH_IOU:
            kinds.append("duplicate")
        else:
            kinds.append("localisation" if nearest >= NEAR_IOU else "background")
    return JudgedImage(image, found, tuple(kinds), free, overlaps.max(axis=0, initial=0.0))


def judge_all(predictor: Predictor, dataset: Dataset, progress: Progress = no_progress) -> list[JudgedImage]:
    """Detect on all images of a data set of persons, and judge."""
    judged = []
    with progress("detecting", len(dataset.images), "images") as advance:
        for image in dataset.images:
            judged.append(judge(image, predictor.predict(read_labelled(image, dataset.folder, dataset.follow_links))))
            advance()
    return judged


def judge_evaluation(evaluation: Evaluation, class_count: int, least_score: float) -> list[JudgedImage]:
    """Judge what an evaluation has found with at least a score; boxes of each class with each other only.

    Returns:
        One per image, or per image and class where there are several classes.
    """
    judged = []
    for image, found in zip(evaluation.images, evaluation.detections, strict=True):
        found = found.take(found.scores >= least_score)
        for class_id in range(1, class_count + 1):
            of_class = _with_boxes(image, image.class_ids == class_id)
            judged.append(judge(of_class, found.take(found.class_ids == class_id)))
    return judged


def error_figures(judged: Sequence[JudgedImage]) -> dict[str, Any]:
    """Precision, recall, F1, and how many errors there are of each kind, and of each of COCO's sizes."""
    kinds = Counter(kind for item in judged for kind in item.kinds)
    false = sum(kinds[kind] for kind in FALSE_KINDS)
    counts = np.concatenate([~item.image.iscrowd for item in judged])
    missed = np.concatenate([item.missed for item in judged])[counts]
    areas = np.concatenate([item.image.areas for item in judged])[counts]
    best_iou = np.concatenate([item.best_iou for item in judged])[counts]
    precision = kinds["matched"] / max(1, kinds["matched"] + false)
    recall = kinds["matched"] / max(1, len(missed))
    sizes = {name: sizes_of(areas) == place for place, name in enumerate(SIZES)}
    images = {item.image.image_id for item in judged}
    without = images - {item.image.image_id for item in judged if len(item.image.boxes_xyxy)}
    alarms = len(without & {item.image.image_id for item in judged if len(item.found)})
    return {
        "images": len(images),
        "persons": len(missed),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(precision + recall, 1e-9),
        "false_positives_per_image": false / len(images),
        "detections": {kind: kinds[kind] for kind in ("matched", *FALSE_KINDS, "ignored")},
        "missed": {
            "persons": int(missed.sum()),
            "of_these_with_a_box_near": int((missed & (best_iou >= NEAR_IOU)).sum()),
            "by_size": {
                name: {"persons": int(chosen.sum()), "missed": int((missed & chosen).sum())}
                for name, chosen in sizes.items()
            },
        },
        "images_without_persons": {
            "images": len(without),
            "with_a_detection": alarms,
            "share": alarms / max(1, len(without)),
        },
    }


def only_persons(dataset: Dataset) -> Dataset:
    """The same images with the boxes of the class `person` alone."""
    person = dataset.class_names.index("person") + 1
    chosen = (_with_boxes(image, image.class_ids == person) for image in dataset.images)
    images = tuple(replace(image, class_ids=np.ones_like(image.class_ids)) for image in chosen)
    return Dataset(images, ("person",), (dataset.category_ids[person - 1],), dataset.folder, dataset.follow_links)


def _with_boxes(image: LabelledImage, rows: np.ndarray) -> LabelledImage:
    return replace(
        image,
        boxes_xyxy=image.boxes_xyxy[rows],
        class_ids=image.class_ids[rows],
        iscrowd=image.iscrowd[rows],
        areas=image.areas[rows],
        scores=image.scores[rows],
    )


def taken_for_persons(judged: Sequence[JudgedImage], dataset: Dataset) -> dict[str, dict[str, int]]:
    """What lies under the background errors.

    Args:
        judged: On the persons of `dataset`, in its order.
        dataset: With all its classes.

    Returns:
        By class, most first: `errors`, the background errors whose best overlap, of IoU 0.5 or more, is with a box of
        the class, and `boxes`, how many of these boxes there are. `no annotated object` has the other errors.
    """
    errors: Counter[str] = Counter()
    for item, image in zip(judged, dataset.images, strict=True):
        background = np.array([kind == "background" for kind in item.kinds], bool)
        for row in pairwise_iou(item.found.boxes_xyxy[background], image.boxes_xyxy, image.iscrowd):
            known = row.max(initial=0.0) >= MATCH_IOU
            errors[dataset.class_names[image.class_ids[row.argmax()] - 1] if known else NO_OBJECT] += 1
    boxes = Counter(dataset.class_names[index - 1] for image in dataset.images for index in image.class_ids)
    return {name: {"errors": count, "boxes": boxes[name]} for name, count in errors.most_common()}


@dataclass(frozen=True)
class WorstError:
    """One false detection or one missed person.

    Attributes:
        judged: The image.
        box_xyxy: [4], pixels.
        caption: Kind, and score or size.
        score: Of a false detection; None of a missed person.
    """

    judged: JudgedImage
    box_xyxy: np.ndarray
    caption: str
    score: float | None = None


def worst_false_detections(judged: Sequence[JudgedImage], most: int) -> list[WorstError]:
    """The false detections of the highest scores, `most` at most."""
    errors = [
        (float(score), WorstError(item, box, f"{kind}, score {score:.2f}", float(score)))
        for item in judged
        for kind, box, score in zip(item.kinds, item.found.boxes_xyxy, item.found.scores, strict=True)
        if kind in FALSE_KINDS
    ]
    return _first(errors, most)


def worst_misses(judged: Sequence[JudgedImage], most: int) -> list[WorstError]:
    """The missed persons of the largest boxes, `most` at most."""
    errors = []
    for item in judged:
        for box, best in zip(item.image.boxes_xyxy[item.missed], item.best_iou[item.missed], strict=True):
            width, height = box[2:] - box[:2]
            caption = f"missed, {width:.0f} x {height:.0f}, best IoU {best:.2f}"
            errors.append((float(width * height), WorstError(item, box, caption)))
    return _first(errors, most)


def _first(errors: list[tuple[float, WorstError]], most: int) -> list[WorstError]:
    return [error for _, error in sorted(errors, key=lambda pair: pair[0], reverse=True)[:most]]
