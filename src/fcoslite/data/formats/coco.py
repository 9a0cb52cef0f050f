"""COCO instances files: read as labelled images, and written, by whoever writes one."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from fcoslite.data.dataset import AnnotationTable, Category, Dataset, ImageRecord, LabelledImage
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.data.formats.table import to_dataset
from fcoslite.errors import DataError
from fcoslite.storage.places import is_folder
from fcoslite.text import as_utf8

_AT_ONCE = 10_000  # images that are encoded


def read_coco(annotations: Path, images: Path, classes: Sequence[str] | None = None) -> Dataset:
    """Read a COCO instances file; no image is opened.

    Boxes are cut at the border of their image; those without area are dropped with a warning.

    Args:
        annotations: The JSON file.
        images: The folder its file names are relative to.
        classes: Names whose boxes to read, class ids in this order; None: all, by category id.

    Raises:
        DataError: The file or the folder is missing or cannot be used.
        ConfigError: No such class.
    """
    check_images_folder(images)
    return to_dataset(open_coco(annotations, classes, [images]))


def check_images_folder(folder: Path) -> None:
    """Raise DataError unless `folder` is a folder."""
    if not is_folder(folder):
        raise DataError(f"no images folder at {folder}", "file names in the annotations are relative to it")


class CameraRecord(ImageRecord, frozen=True, omit_defaults=True, kw_only=True):
    """A frame of a camera's folder that is an image of a data set.

    Attributes:
        why: It was kept, see `camera.frames`.
    """

    why: str


class FrameRecord(ImageRecord, frozen=True, omit_defaults=True, kw_only=True):
    """A frame of a video that is an image of a data set.

    Attributes:
        video: Name of the video.
        frame: Number in it, from 0.
        seconds: Since its first frame.
    """

    video: str
    frame: int
    seconds: float | None = None


class CocoCategory(msgspec.Struct):
    """A class as it is written."""

    supercategory: str
    id: int
    name: str


class CocoAnnotation(msgspec.Struct, omit_defaults=True, gc=False):
    """A box as it is written: x, y, width, height in pixels; one that a person drew has no score, as ours of 1.

    `ask` is ours: a detector's box that a human has yet to judge, ignored as a crowd is until then.
    """

    id: int
    image_id: int
    category_id: int
    bbox: Sequence[float]
    area: float
    iscrowd: int
    score: float | None = None
    track_id: int | None = None
    ask: bool = False


class CocoDocument(msgspec.Struct):
    """An instances file that is to be written, put together image by image.

    Attributes:
        info: JSON.
        licenses: JSON.
        categories: Of the boxes.
        images: Records; JSON where it says more than we know of.
        annotations: The boxes.
    """

    info: Raw = Raw(b"{}")
    licenses: Raw = Raw(b"[]")
    categories: list[CocoCategory] = []
    images: list[ImageRecord | Raw] = []
    annotations: list[CocoAnnotation] = []

    def add_box(
        self,
        image_id: int,
        category_id: int,
        box_xywh: Sequence[float],
        area: float,
        iscrowd: bool = False,
        score: float = 1.0,
        track_id: int | None = None,
        ask: bool = False,
    ) -> None:
        """Add a box; ids count from 1, since pycocotools takes 0 for 'no match'."""
        number, said = len(self.annotations) + 1, None if score == 1 else score
        self.annotations.append(
            CocoAnnotation(number, image_id, category_id, box_xywh, area, int(iscrowd), said, track_id, ask)
        )

    def encode(self) -> bytes:
        """The file's content."""
        return msgspec.json.encode(self)

    def tree(self) -> dict[str, Any]:
        """The file's content as pycocotools takes it."""
        tree: dict[str, Any] = msgspec.json.decode(self.encode())
        return tree


def coco_categories(categories: Iterable[Category]) -> list[CocoCategory]:
    """Categories as they are written."""
    return [CocoCategory(one.supercategory or "", one.id, as_utf8(one.name)) for one in categories]


def to_coco_json(
    images: Iterable[LabelledImage], class_names: Sequence[str], category_ids: Sequence[int] | None = None
) -> dict[str, Any]:
    """Labelled images as a COCO instances document, such as pycocotools takes for ground truth.

    Args:
        images: What to write.
        class_names: Names by class id - 1.
        category_ids: Category ids by class id - 1; None: the class ids themselves.
    """
    category_ids = range(1, len(class_names) + 1) if category_ids is None else category_ids
    document = CocoDocument(categories=coco_categories(map(Category, category_ids, class_names)))
    for image in images:
        document.images.append(ImageRecord(image.image_id, image.file_name, image.height, image.width))
        for box, class_id, iscrowd, area, score in zip(
            image.boxes_xyxy.tolist(),
            image.class_ids.tolist(),
            image.iscrowd.tolist(),
            image.areas.tolist(),
            image.scores.tolist(),
            strict=True,
        ):
            box_xywh = (box[0], box[1], box[2] - box[0], box[3] - box[1])
            document.add_box(image.image_id, category_ids[class_id - 1], box_xywh, area, iscrowd, score)
    return document.tree()


def encode_annotations(source: AnnotationTable, chosen: Sequence[int]) -> bytes:
    """COCO instances JSON of the chosen images; category id 1 is the first class, annotations keep their ids."""
    content = bytearray()
    for piece in _encoded(source, chosen):
        content += piece
    return bytes(content)


def _encoded(source: AnnotationTable, chosen: Sequence[int]) -> Iterator[bytes]:
    """The same in pieces."""
    head = CocoDocument(
        info=source.info,
        licenses=source.licenses,
        categories=coco_categories(
            msgspec.structs.replace(category, id=number) for number, category in enumerate(source.categories, start=1)
        ),
    ).encode()
    yield head.removesuffix(b'[],"annotations":[]}') + b"["
    records = source.raw_images or source.images
    yield from _joined([records[index] for index in some] for some in _stretches(chosen))
    yield b'],"annotations":['
    yield from _joined(_boxes(source, some) for some in _stretches(chosen))
    yield b"]}"


def _stretches(chosen: Sequence[int]) -> Iterator[Sequence[int]]:
    return (chosen[start : start + _AT_ONCE] for start in range(0, len(chosen), _AT_ONCE))


def _joined(lists: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """JSON of their items as of those of one array, without its brackets."""
    between = b""
    for items in lists:
        if items:
            yield between + msgspec.json.encode(items)[1:-1]
            between = b","


def _boxes(source: AnnotationTable, chosen: Sequence[int]) -> list[CocoAnnotation]:
    """Of the chosen images."""
    counts = np.diff(source.starts)[list(chosen)]
    image_ids = np.repeat([source.images[index].image_id for index in chosen], counts)
    rows = source.rows_of(chosen)
    columns = (
        source.annotation_ids[rows].tolist(),
        image_ids.tolist(),
        source.class_ids[rows].tolist(),
        source.boxes_xywh[rows].tolist(),
        source.areas[rows].tolist(),
        (source.iscrowd & ~source.asks)[rows].astype(np.int64).tolist(),
        [None if score == 1 else score for score in source.scores[rows].tolist()],
        [None] * len(rows),
        source.asks[rows].tolist(),
    )
    return list(map(CocoAnnotation, *columns))


def table_digest(table: AnnotationTable) -> str:
    """SHA-256 of all that was read of a data set, whatever its format."""
    digest = hashlib.sha256()
    for piece in _encoded(table, range(len(table.images))):
        digest.update(piece)
    return digest.hexdigest()
