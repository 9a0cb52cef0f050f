"""A COCO document of labelled images, the boxes that humans have drawn among them."""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Raw

from fcoslite.camera.frames import CameraFrame, is_frame_name
from fcoslite.data.capture import date_text, recorded_at
from fcoslite.data.dataset import AnnotationTable, Category, ImageRecord
from fcoslite.data.formats.coco import (
    CameraRecord,
    CocoAnnotation,
    CocoDocument,
    FrameRecord,
    coco_categories,
)
from fcoslite.data.formats.coco_columns import rewritten
from fcoslite.data.formats.open import open_data
from fcoslite.errors import DataError
from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.inference.input.listing import video_stem
from fcoslite.labelling.fuse import repeats
from fcoslite.labelling.journal import Entry
from fcoslite.labelling.over_time import Moment, standing

_IN_CROWD = 0.5  # share of a box


@dataclass(frozen=True)
class HumanBoxes:
    """Boxes drawn by humans.

    Attributes:
        file: Their data set.
        places: In `file.images`, by file name without folders; those of a camera's frames with the camera.
    """

    file: AnnotationTable
    places: dict[str, int]

    @property
    def categories(self) -> tuple[Category, ...]:
        """Classes with the ids to write: COCO's own; other formats number them from 0, or not at all."""
        known = self.file.categories
        return known if self.file.raw_images else tuple(Category(n, one.name) for n, one in enumerate(known, start=1))

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
    """Read the data set of `--merge`, of any format.

    Raises:
        DataError: It cannot be used, or has several images of one name.
    """
    file = open_data(path)
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


def label_document(
    entries: Iterable[Entry],
    class_names: Sequence[str],
    humans: HumanBoxes | None,
    taken: Mapping[str, CameraFrame] | None = None,
) -> CocoDocument:
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
    known = [] if humans is None else list(humans.categories)
    for name in class_names:
        if name not in {category.name for category in known}:
            known.append(Category(max((category.id for category in known), default=0) + 1, name))
    categories = {category.name: category.id for category in known}
    document = CocoDocument(categories=coco_categories(known))
    if humans is not None:
        document.info, document.licenses = humans.file.info, humans.file.licenses
    for image_id, entry in enumerate(entries, start=1):
        place = None if humans is None else humans.place(entry.name)
        record = _record(image_id, entry, taken.get(entry.name))
        begin = len(document.annotations)
        if humans is None or place is None:
            document.images.append(record)
        else:
            document.images.append(_drawn_on(humans.file, place, record))
            _keep(humans, place, image_id, document)
        drawn = document.annotations[begin:]
        flags = asked.get(entry.name, [False] * len(entry.scores))
        for box, score, class_id, ask in zip(entry.boxes_xyxy, entry.scores, entry.class_ids, flags, strict=True):
            category = categories[class_names[class_id - 1]]
            if not _is_drawn(box, [item for item in drawn if item.category_id == category]):
                x, y, width, height = box[0], box[1], round(box[2] - box[0], 2), round(box[3] - box[1], 2)
                area = round(width * height, 2)
                document.add_box(image_id, category, (x, y, width, height), area, score=score, ask=ask)
    return document


def kept_boxes(entries: Iterable[Entry], humans: HumanBoxes | None) -> int:
    """How many boxes of `--merge` are on these images."""
    if humans is None:
        return 0
    places = [humans.place(entry.name) for entry in entries]
    rows = [humans.file.rows(place) for place in places if place is not None]
    return sum(row.stop - row.start for row in rows)


def _record(image_id: int, entry: Entry, taken: CameraFrame | None) -> ImageRecord:
    if taken is not None:
        return CameraRecord(
            image_id,
            entry.name,
            entry.height,
            entry.width,
            camera=taken.camera,
            date_captured=date_text(taken.captured),
            why=taken.why,
        )
    if entry.frame is None:
        return ImageRecord(image_id, entry.name, entry.height, entry.width)
    return FrameRecord(
        image_id,
        entry.name,
        entry.height,
        entry.width,
        video=entry.source,
        frame=entry.frame,
        seconds=entry.seconds,
        camera=video_stem(entry.source),
        date_captured=date_text(recorded_at(entry.seconds or 0.0)),
    )


def _drawn_on(file: AnnotationTable, place: int, record: ImageRecord) -> ImageRecord | Raw:
    """The record of an image that humans drew on; what else their file says of it is kept."""
    record = msgspec.structs.replace(record, split=file.images[place].split)
    return rewritten(file.raw_images[place], record) if file.raw_images else record


def _asked(entries: Sequence[Entry], taken: Mapping[str, CameraFrame]) -> dict[str, list[bool]]:
    """Which boxes of each frame of a camera to ask about, by name."""
    by_camera: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.name in taken:
            by_camera.setdefault(taken[entry.name].camera, []).append(entry)
    asked: dict[str, list[bool]] = {}
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
        asked |= {entry.name: flags.tolist() for entry, flags in zip(those, standing(moments), strict=True)}
    return asked


def _keep(humans: HumanBoxes, place: int, image_id: int, document: CocoDocument) -> None:
    """Add the boxes of humans."""
    file, categories, rows = humans.file, humans.categories, humans.file.rows(place)
    crowds = file.iscrowd & ~file.asks  # what is asked about is read as a crowd
    columns = (file.class_ids, file.boxes_xywh, file.areas, crowds, file.scores, file.asks)
    for class_id, box, area, iscrowd, score, ask in zip(*(column[rows].tolist() for column in columns), strict=True):
        document.add_box(image_id, categories[class_id - 1].id, box, area, iscrowd, score, ask=ask)


def _is_drawn(box: tuple[float, ...], drawn: Sequence[CocoAnnotation]) -> bool:
    mine = np.array([box])
    others = np.array([item.bbox for item in drawn]).reshape(-1, 4)
    others[:, 2:] += others[:, :2]
    crowds = others[np.array([bool(item.iscrowd) for item in drawn], bool)]
    in_crowd = pairwise_iou(mine, crowds, np.ones(len(crowds), bool)) > _IN_CROWD
    return bool(repeats(mine, others)[0] or in_crowd.any())
