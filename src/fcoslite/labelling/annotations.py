"""A COCO document of labelled images, the boxes that humans have drawn among them."""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fcoslite.camera.frames import CameraFrame, date_text, is_frame_name
from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.formats.coco import score_of
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.errors import DataError
from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.labelling.fuse import repeats
from fcoslite.labelling.journal import Entry
from fcoslite.labelling.over_time import Moment, standing

_IN_CROWD = 0.5  # share of a box


@dataclass(frozen=True)
class HumanBoxes:
    """Boxes drawn by humans.

    Attributes:
        file: Their annotation file.
        places: In `file.images`, by file name without folders; those of a camera's frames with the camera.
    """

    file: AnnotationTable
    places: dict[str, int]

    def place(self, name: str) -> int | None:
        """Of an image in `file.images`, by its name in the data set; None if it is not there."""
        return self.places.get(_key(name))

    def sides(self, name: str) -> tuple[int, int] | None:
        """Height and width, pixels, that the boxes of an image are for; None if it has none."""
        place = self.place(name)
        if place is None:
            return None
        image = self.file.images[place]
        return image.height, image.width


def read_human_boxes(path: Path) -> HumanBoxes:
    """Read the annotation file of `--merge`.

    Raises:
        DataError: It cannot be used, or has several images of one name.
    """
    file = open_coco(path)
    places: dict[str, int] = {}
    for place, image in enumerate(file.images):
        name = _key(image.file_name)
        if name in places:
            names = f"{file.images[places[name]].file_name} and {image.file_name}"
            raise DataError(
                f"{path} has two images called {name}: {names}",
                "images are told by name: give every one a name of its own",
            )
        places[name] = place
    return HumanBoxes(file, places)


def _key(name: str) -> str:
    folder, base = posixpath.split(name)
    # two cameras may have taken a frame at the same time
    return posixpath.join(posixpath.basename(folder), base) if is_frame_name(base) else base


def coco_document(
    entries: Iterable[Entry],
    class_names: Sequence[str],
    humans: HumanBoxes | None,
    taken: Mapping[str, CameraFrame] | None = None,
) -> dict[str, Any]:
    """Labelled images as a COCO instances document. What a detector has found has a `score`, what a human drew none.

    Boxes of humans stay as they are, and those of detectors are added where they repeat none of them in their class:
    they overlap none by more than IoU 0.5, lie in none by more than 70 %, and in no crowd by more than half.

    Args:
        entries: In the order of the ids to give.
        class_names: Of the detectors.
        humans: Boxes to keep; images are told by name.
        taken: When and why images were taken, by name; of those of one camera, boxes at a place where one stood for
            hours while nothing moved have `"ask": true`.
    """
    entries = list(entries)
    taken = taken or {}
    asked = _asked(entries, taken)
    categories = {} if humans is None else {category.name: category.id for category in humans.file.categories}
    for name in class_names:
        categories.setdefault(name, max(categories.values(), default=0) + 1)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, entry in enumerate(entries, start=1):
        record: dict[str, Any] = {}
        rows = slice(0)
        if humans is not None and (place := humans.place(entry.name)) is not None:
            record, rows = msgspec.json.decode(humans.file.raw_images[place]), humans.file.rows(place)
        record |= {"id": image_id, "file_name": entry.name, "height": entry.height, "width": entry.width}
        if entry.frame is not None:
            record |= {"video": entry.source, "frame": entry.frame, "seconds": entry.seconds}
        if (frame := taken.get(entry.name)) is not None:
            record |= {"date_captured": date_text(frame.captured), "camera": frame.camera, "why": frame.why}
        images.append(record)
        drawn = _drawn(humans, rows)
        for item in [*drawn, *_added(entry, class_names, categories, drawn, asked.get(entry.name))]:
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
    places = [humans.place(entry.name) for entry in entries]
    rows = [humans.file.rows(place) for place in places if place is not None]
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


def _asked(entries: Sequence[Entry], taken: Mapping[str, CameraFrame]) -> dict[str, np.ndarray]:
    """Which boxes of each frame of a camera to ask about, by name."""
    by_camera: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.name in taken:
            by_camera.setdefault(taken[entry.name].camera, []).append(entry)
    asked: dict[str, np.ndarray] = {}
    for those in by_camera.values():
        moments = [
            Moment(
                taken[entry.name].captured,
                taken[entry.name].why == "quiet",
                np.array(entry.boxes_xyxy, np.float64).reshape(-1, 4),
                np.array(entry.scores),
                np.array(entry.class_ids, np.int64),
            )
            for entry in those
        ]
        asked |= {entry.name: flags for entry, flags in zip(those, standing(moments), strict=True)}
    return asked


def _added(
    entry: Entry,
    class_names: Sequence[str],
    categories: dict[str, int],
    drawn: Sequence[dict[str, Any]],
    asked: np.ndarray | None,
) -> list[dict[str, Any]]:
    added = []
    flags = np.zeros(len(entry.scores), bool) if asked is None else asked
    columns = zip(entry.boxes_xyxy, entry.scores, entry.class_ids, flags.tolist(), strict=True)
    for box, score, class_id, ask in columns:
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
                    **({"ask": True} if ask else {}),
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
