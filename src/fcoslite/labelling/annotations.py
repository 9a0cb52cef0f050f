"""A COCO document of labelled images, the boxes that humans have drawn among them."""

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fcoslite.camera.capture_time import date_text, recorded_at
from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.formats.coco import score_of
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.errors import DataError
from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.labelling.fuse import repeats
from fcoslite.labelling.journal import Entry

_IN_CROWD = 0.5  # share of a box


@dataclass(frozen=True)
class HumanBoxes:
    """Boxes drawn by humans.

    Attributes:
        file: Their annotation file.
        places: In `file.images`, by file name without folders.
    """

    file: AnnotationTable
    places: dict[str, int]

    def sides(self, name: str) -> tuple[int, int] | None:
        """Height and width, pixels, that the boxes of an image are for; None if it has none."""
        if name not in self.places:
            return None
        image = self.file.images[self.places[name]]
        return image.height, image.width


def read_human_boxes(path: Path) -> HumanBoxes:
    """Read the annotation file of `--merge`.

    Raises:
        DataError: It cannot be used, or has several images of one name.
    """
    file = open_coco(path)
    places: dict[str, int] = {}
    for place, image in enumerate(file.images):
        name = posixpath.basename(image.file_name)
        if name in places:
            names = f"{file.images[places[name]].file_name} and {image.file_name}"
            raise DataError(
                f"{path} has two images called {name}: {names}",
                "images are told by name: give every one a name of its own",
            )
        places[name] = place
    return HumanBoxes(file, places)


def coco_document(entries: Iterable[Entry], class_names: Sequence[str], humans: HumanBoxes | None) -> dict[str, Any]:
    """Labelled images as a COCO instances document. What a detector has found has a `score`, what a human drew none.

    Boxes of humans stay as they are, and those of detectors are added where they repeat none of them in their class:
    they overlap none by more than IoU 0.5, lie in none by more than 70 %, and in no crowd by more than half.

    Args:
        entries: In the order of the ids to give.
        class_names: Of the detectors.
        humans: Boxes to keep; images are told by name.
    """
    categories = {} if humans is None else {category.name: category.id for category in humans.file.categories}
    for name in class_names:
        categories.setdefault(name, max(categories.values(), default=0) + 1)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, entry in enumerate(entries, start=1):
        record: dict[str, Any] = {}
        rows = slice(0)
        if humans is not None and entry.name in humans.places:
            place = humans.places[entry.name]
            record, rows = msgspec.json.decode(humans.file.raw_images[place]), humans.file.rows(place)
        record |= {"id": image_id, "file_name": entry.name, "height": entry.height, "width": entry.width}
        if entry.frame is not None:
            record |= {"video": entry.source, "frame": entry.frame, "seconds": entry.seconds}
            record |= {"camera": Path(entry.source).stem, "date_captured": date_text(recorded_at(entry.seconds or 0.0))}
        images.append(record)
        drawn = _drawn(humans, rows)
        for item in [*drawn, *_added(entry, class_names, categories, drawn)]:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **item})
    return {
        "info": {} if humans is None else humans.file.info,
        "licenses": [] if humans is None else humans.file.licenses,
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def kept_boxes(entries: Iterable[Entry], humans: HumanBoxes | None) -> int:
    """How many boxes of `--merge` are on these images."""
    if humans is None:
        return 0
    rows = [humans.file.rows(humans.places[entry.name]) for entry in entries if entry.name in humans.places]
    return sum(row.stop - row.start for row in rows)


def _drawn(humans: HumanBoxes | None, rows: slice) -> list[dict[str, Any]]:
    if humans is None:
        return []
    file = humans.file
    columns = zip(
        file.class_ids[rows].tolist(),
        file.boxes_xywh[rows].tolist(),
        file.areas[rows].tolist(),
        file.iscrowd[rows].tolist(),
        file.scores[rows].tolist(),
        strict=True,
    )
    return [
        {
            "category_id": file.categories[class_id - 1].id,
            "bbox": bbox,
            "area": area,
            "iscrowd": int(iscrowd),
            **score_of(score),
        }
        for class_id, bbox, area, iscrowd, score in columns
    ]


def _added(
    entry: Entry, class_names: Sequence[str], categories: dict[str, int], drawn: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    added = []
    for box, score, class_id in zip(entry.boxes_xyxy, entry.scores, entry.class_ids, strict=True):
        category = categories[class_names[class_id - 1]]
        if not _is_drawn(box, [item for item in drawn if item["category_id"] == category]):
            x, y, width, height = box[0], box[1], round(box[2] - box[0], 2), round(box[3] - box[1], 2)
            added.append(
                {
                    "category_id": category,
                    "bbox": [x, y, width, height],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return added


def _is_drawn(box: tuple[float, ...], drawn: Sequence[dict[str, Any]]) -> bool:
    mine = np.array([box])
    others = np.array([item["bbox"] for item in drawn]).reshape(-1, 4)
    others[:, 2:] += others[:, :2]
    crowds = others[np.array([bool(item["iscrowd"]) for item in drawn], bool)]
    in_crowd = pairwise_iou(mine, crowds, np.ones(len(crowds), bool)) > _IN_CROWD
    return bool(repeats(mine, others)[0] or in_crowd.any())
