"""A data set as columns of annotations, as the formats read and write it; as labelled images; and its seeded order."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Raw

from fcoslite.data.capture import Capture

SPLITS = ("train", "val", "test")
UNKNOWN_SIDES = (1, 1)  # of an image whose header cannot be read, though the format asks it

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
LONGEST_SIDE = 1_000_000  # pixels
Side = Annotated[int, Meta(ge=1, le=LONGEST_SIDE)]


class ImageRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What we need of an image: its sides are in pixels; the split is train, val, test or another name, if any.

    When it was taken, and by which camera, is what the file says, be it of use or not: see `data.capture`.
    """

    image_id: Id = msgspec.field(name="id")
    file_name: str
    height: Side
    width: Side
    split: str | None = None
    date_captured: Any = None
    camera: Any = None


class Category(msgspec.Struct, frozen=True):
    """A class of objects."""

    id: Id
    name: str
    supercategory: str | None = None


@dataclass(frozen=True)
class AnnotationTable:
    """A data set of any format: its images, by id ascending, and the annotations of the chosen classes in columns.

    Attributes:
        path: The file or folder that was read, for messages.
        folder: Where the image files are.
        categories: The chosen ones; class id 1 is the first.
        images: All I images, by id.
        starts: [I + 1] int64; the annotations of image i are rows starts[i] to starts[i + 1], by id.
        mentions_class: [I] bool, has an annotation of the classes, be it one with an unusable box.
        annotation_ids: [A] int64.
        class_ids: [A] int32, 1-based.
        boxes_xywh: [A, 4] float64, pixels, cut at the border of the image.
        areas: [A] float64, segment area in square pixels; the box's own where the file has none that is possible.
        iscrowd: [A] bool; so is what a human has yet to be asked about.
        asks: [A] bool, that is to be asked about: a detector drew it, and nobody has judged it.
        scores: [A] float64 in (0, 1], how sure a detector was that drew the box; 1 where the file does not say.
        dropped_boxes: Annotations of the classes left out: no area inside an image, or no such image.
        clipped_boxes: Boxes that reached over the border of their image.
        info: JSON of COCO's section of that name.
        licenses: JSON of COCO's section of that name.
        raw_images: Image records as COCO's file has them, with licences and attributions; empty for other formats.
    """

    path: Path
    folder: Path
    categories: tuple[Category, ...]
    images: Sequence[ImageRecord]
    starts: np.ndarray
    mentions_class: np.ndarray
    annotation_ids: np.ndarray
    class_ids: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    iscrowd: np.ndarray
    asks: np.ndarray
    scores: np.ndarray
    dropped_boxes: int
    clipped_boxes: int
    info: Raw = field(default_factory=lambda: Raw(b"{}"))
    licenses: Raw = field(default_factory=lambda: Raw(b"[]"))
    raw_images: tuple[Raw, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id - 1."""
        return tuple(category.name for category in self.categories)

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that there are: train, val, test, then others."""
        names = {image.split for image in self.images if image.split is not None}
        return tuple(sorted(names, key=lambda name: (SPLITS.index(name) if name in SPLITS else len(SPLITS), name)))

    def rows(self, image: int) -> slice:
        """Rows of the annotations of the image at that index."""
        return slice(int(self.starts[image]), int(self.starts[image + 1]))

    def rows_of(self, chosen: Sequence[int] | np.ndarray) -> np.ndarray:
        """The rows of the annotations of the images at those indexes, in that order."""
        places = np.asarray(chosen, np.int64)
        counts = np.diff(self.starts)[places]
        ends = counts.cumsum()
        return np.arange(counts.sum()) + np.repeat(self.starts[places] - ends + counts, counts)


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file and its boxes.

    Attributes:
        image_id: COCO's id.
        file_name: Relative to the images folder.
        height: Pixels.
        width: Pixels.
        boxes_xyxy: [N, 4] float32, pixels of the original image, inside it.
        class_ids: [N] int32; 1 is the first of the data set's class names.
        iscrowd: [N] bool, the box covers a group.
        areas: [N] float32, area of the segment (not of the box), square pixels.
        scores: [N] float32 in (0, 1], how sure a detector was that drew the box; 1 where a person did.
        split: The part of the data set that it belongs to, such as train or val; None where that is not said.
        capture: Which camera took it, and when; None where either is not said.
    """

    image_id: int
    file_name: str
    height: int
    width: int
    boxes_xyxy: np.ndarray
    class_ids: np.ndarray
    iscrowd: np.ndarray
    areas: np.ndarray
    scores: np.ndarray
    split: str | None = None
    capture: Capture | None = None


@dataclass(frozen=True, slots=True)
class RehearsedImage(LabelledImage):
    """One that is learned from beside a data set, to which it does not belong: see `data.rehearsal`."""


@dataclass(frozen=True)
class Dataset:
    """Labelled images by image id, ascending.

    Attributes:
        images: All images, those without a box too.
        class_names: Names by class id - 1.
        category_ids: The data set's own category ids by class id - 1.
        folder: Where the image files are.
        follow_links: Links out of the folder are meant.
        rehearsed: Images that are learned from beside these; its folder is another.
    """

    images: Sequence[LabelledImage]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    folder: Path
    follow_links: bool = False
    rehearsed: "Dataset | None" = None

    def origin(self, image: LabelledImage) -> "Dataset":
        """The data set in whose folder an image is, one of these or of those that are rehearsed."""
        return self.rehearsed if self.rehearsed is not None and isinstance(image, RehearsedImage) else self


def seeded_order(image_ids: Collection[int] | np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """Shuffle images the same way on every machine and for every version of numpy.

    Each id gets its place by a hash of its own, so the order of the rest does not change with an image
    more or less, and the first n of a shuffle are among its first n + 1. `purpose` keeps the shuffles of
    different steps independent: a sample taken by one must not come first in the next.

    Returns:
        [N] int64: positions among the ids.
    """

    def place(image_id: int) -> bytes:
        return hashlib.blake2b(f"{purpose}:{seed}:{image_id}".encode(), digest_size=16).digest()

    # 16 bytes of each are held: as Python's own bytes they take four times as much
    places = np.fromiter(map(place, image_ids), np.dtype("S16"), len(image_ids))
    return np.argsort(places, kind="stable")
