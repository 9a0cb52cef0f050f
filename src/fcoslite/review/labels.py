"""The labels that are reviewed: a COCO file as it was read, to be written again with answers."""

import hashlib
from codecs import BOM_UTF8
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.errors import DataError

IMAGES = "images"
HUMAN_SCORE = 1.0


class _Numbered(msgspec.Struct):
    id: int


class _Written(msgspec.Struct):
    """What must be as it is written, that answers can be put into the file."""

    annotations: list[_Numbered]


@dataclass(frozen=True)
class Labels:
    """A COCO instances file.

    Attributes:
        content: Its bytes.
        table: Its images and boxes, checked; a row a box.
        images: [A] int64, the image of each box, its index in `table.images`.
        asks: [A] bool, whether a person is to say what it is.
        shares: [A, 4] float64, the boxes as x, y, width, height in shares of their image's sides.
        cameras: The camera of each image: its own name, or the video it is of; None where none is known.
        times: When each image was taken: a date, or the seconds of its video; None where that is not known.
    """

    content: bytes
    table: AnnotationTable
    images: np.ndarray
    asks: np.ndarray
    shares: np.ndarray
    cameras: tuple[str | None, ...]
    times: tuple[str | float | None, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def is_asked(self) -> np.ndarray:
        """[A] bool, whether a box may be doubted: it has `ask`, or a score that no human has given."""
        return (self.asks | (self.table.scores < HUMAN_SCORE)) & ~self.is_crowd

    @property
    def is_crowd(self) -> np.ndarray:
        """[A] bool; who only learns or scores reads what has `ask` as a crowd, too."""
        return self.table.iscrowd & ~self.asks

    def category(self, row: int) -> str:
        """Name of a box's category."""
        return self.table.class_names[int(self.table.class_ids[row]) - 1]

    def bbox(self, row: int) -> tuple[float, float, float, float]:
        """x, y, width, height, pixels."""
        x, y, width, height = self.table.boxes_xywh[row].tolist()
        return x, y, width, height


def read_labels(path: Path, images: Path) -> Labels:
    """Read a COCO instances file.

    Args:
        path: The file.
        images: The folder of its images.

    Raises:
        DataError: It is missing, or not such as `label` writes.
    """
    table = open_coco(path, places=[images, images.parent])
    content = path.read_bytes()
    try:
        msgspec.json.decode(content.removeprefix(BOM_UTF8), type=_Written)
    except msgspec.DecodeError as error:
        hint = f"`fcoslite convert {path.parent} --to coco` writes it as it should be"
        raise DataError(f"{path} is not as `label` writes it: {error}", hint) from None
    rows = np.repeat(np.arange(len(table.images)), np.diff(table.starts))
    sides = np.array([(image.width, image.height) * 2 for image in table.images], np.float64)
    records = [msgspec.json.decode(raw) for raw in table.raw_images]
    return Labels(
        content=content,
        table=table,
        images=rows,
        asks=table.asks,
        shares=table.boxes_xywh / sides[rows],
        cameras=tuple(_text(record, "camera") or _text(record, "video") for record in records),
        times=tuple(map(_time, records)),
    )


def with_answers(labels: Labels, removed: set[int], confirmed: dict[int, Any], added: list[dict[str, Any]]) -> bytes:
    """The file again, with answers.

    Args:
        labels: As they were.
        removed: Ids of annotations that go.
        confirmed: What changes in annotations that stay, by id; they lose their `ask`.
        added: Annotations without ids.
    """
    document = msgspec.json.decode(labels.content.removeprefix(BOM_UTF8), type=dict[str, Raw])
    annotations: list[Any] = []
    highest = 0
    for raw in msgspec.json.decode(document["annotations"], type=list[Raw]):
        number = msgspec.json.decode(raw, type=_Numbered).id
        highest = max(highest, number)
        if number in confirmed:
            old = msgspec.json.decode(raw)
            old.pop("ask", None)
            if "bbox" in confirmed[number]:
                old.pop("segmentation", None)  # it is of the box as it was
            annotations.append(old | confirmed[number])
        elif number not in removed:
            annotations.append(raw)
    annotations += [{"id": highest + place, **one} for place, one in enumerate(added, start=1)]
    return msgspec.json.encode({**document, "annotations": annotations})


def _time(record: Any) -> str | float | None:
    # the date of a video's frame counts from 1970, for want of another
    seconds = _number(record, "seconds")
    return _text(record, "date_captured") if seconds is None else seconds


def _text(record: Any, key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value else None


def _number(record: Any, key: str) -> float | None:
    value = record.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
