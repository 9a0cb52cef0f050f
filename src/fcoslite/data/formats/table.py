"""What the readers of all formats share: columns of boxes are checked, cut and sorted into an `AnnotationTable`."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fcoslite.data.capture import Capture, capture_of
from fcoslite.data.dataset import (
    LONGEST_SIDE,
    UNKNOWN_SIDES,
    AnnotationTable,
    Category,
    Dataset,
    ImageRecord,
    LabelledImage,
)
from fcoslite.data.formats.class_choice import choose_names, look_alikes
from fcoslite.data.formats.duplicates import refuse_shared_files
from fcoslite.data.images import follows_links
from fcoslite.data.lazy import LazySequence, picked
from fcoslite.errors import DataError

_log = logging.getLogger("fcoslite")

# control characters, which a terminal would obey, and what is not to be written as UTF-8, or in XML
_UNWRITABLE = r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
# absolute, of a Windows drive, upwards, or empty
_REFUSED_NAME = re.compile(rf"^/|^.:|(^|/)\.\.(/|$)|{_UNWRITABLE}|^$")
_REFUSED_SPLIT = re.compile(rf"[/\\:]|{_UNWRITABLE}|^\s*$")

AT_ONCE = 1 << 20  # boxes that are worked on: what is reckoned of each takes a multiple of its own memory
_ROUNDING = 1e-3  # pixels; a box that is cut by less was drawn to the border, and written with so many digits


@dataclass
class Columns:
    """Annotations of the chosen classes as they were read; whoever makes a table of them takes the columns away.

    Attributes:
        ids: [A] int64, unique.
        image_index: [A] int64, position among the images, which are sorted by id; -1 where there is none.
        class_ids: [A] int32, 1-based.
        boxes_xywh: [A, 4] float64, pixels.
        areas: [A] float64, square pixels; NaN for that of the box.
        iscrowd: [A] bool.
        asks: [A] bool, see `AnnotationTable`.
        scores: [A] float64 in (0, 1].
        where: Names an annotation by its place in the columns, after "the first": `has id 12`, `is a.txt, line 3`.
        lost: Annotations that never came into the columns, and were warned of.
    """

    ids: np.ndarray
    image_index: np.ndarray
    class_ids: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    iscrowd: np.ndarray
    asks: np.ndarray
    scores: np.ndarray
    where: Callable[[int], str]
    lost: int = 0


@dataclass
class BoxList:
    """Boxes one by one, of formats that are read so.

    Attributes:
        images: Position of the image of each.
        categories: Position of its category among all.
        boxes_xywh: Pixels.
        crowds: It is to be ignored.
        scores: In (0, 1].
        places: Line of the file, or number within it.
    """

    images: list[int] = field(default_factory=list)
    categories: list[int] = field(default_factory=list)
    boxes_xywh: list[tuple[float, float, float, float]] = field(default_factory=list)
    crowds: list[bool] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def add(
        self,
        image: int,
        category: int,
        box_xywh: tuple[float, float, float, float],
        place: int,
        crowd: bool = False,
        score: float = 1.0,
    ) -> None:
        """Add a box."""
        self.images.append(image)
        self.categories.append(category)
        self.boxes_xywh.append(box_xywh)
        self.crowds.append(crowd)
        self.scores.append(score)
        self.places.append(place)

    def columns(
        self, known: Sequence[Category], chosen: Sequence[Category], name: Callable[[int, int], str], lost: int = 0
    ) -> Columns:
        """The boxes of the chosen categories.

        Args:
            known: All categories, by position.
            chosen: Class id 1 is the first.
            name: Of a box, by position of its image and place.
            lost: Boxes that could not be added.
        """
        class_of = {category.name: number for number, category in enumerate(chosen, start=1)}
        of_category = np.array([class_of.get(category.name, 0) for category in known], np.int32)
        class_ids = of_category[np.array(self.categories, np.int64)]
        keep = np.flatnonzero(class_ids)
        boxes = np.array(self.boxes_xywh, np.float64).reshape(-1, 4)[keep]
        return Columns(
            ids=keep + 1,
            image_index=np.array(self.images, np.int64)[keep],
            class_ids=class_ids[keep],
            boxes_xywh=boxes,
            areas=np.full(len(keep), np.nan),
            iscrowd=np.array(self.crowds, bool)[keep],
            asks=np.zeros(len(keep), bool),
            scores=np.array(self.scores, np.float64)[keep],
            where=lambda row: f"is {name(self.images[keep[row]], self.places[keep[row]])}",
            lost=lost,
        )


def assemble(
    path: Path,
    folder: Path,
    categories: Sequence[Category],
    images: Sequence[ImageRecord],
    columns: Columns,
) -> AnnotationTable:
    """Cut boxes at the border of their image, leave those without area out with a warning, and sort them by image.

    Args:
        path: What was read, for messages.
        folder: Of the image files.
        categories: The chosen ones.
        images: All, by id ascending.
        columns: The annotations.

    Raises:
        DataError: There is no image, two share a file, a file name leads out of the folder, or a class or a split has a
            name that not every format can say.
    """
    if not images:
        raise DataError(f"{path} lists no images", "a data set needs at least one")
    for category in categories:
        _check_class_name(category.name, path)
    splits: set[str] = set()
    for image in images:
        check_file_name(image.file_name, path)
        if image.split is not None:
            splits.add(image.split)
    for split in sorted(splits):
        _check_split(split, path)
    refuse_shared_files(images, path)
    has_image = columns.image_index >= 0
    mentions_class = np.zeros(len(images), bool)
    mentions_class[columns.image_index[has_image]] = True
    usable, clipped, impossible = _cut_boxes(columns, images)
    _warn(path, columns, ~has_image, "belong to an image that it does not list and are left out")
    _warn(path, columns, has_image & ~usable, "have a box without area inside its image and are left out")
    _warn(path, columns, has_image & usable & impossible, "have an impossible area; that of the box is taken")

    count = len(columns.ids)
    keep = np.flatnonzero(has_image & usable)
    keep = keep[np.lexsort((columns.ids[keep], columns.image_index[keep]))]

    def taken(name: str) -> np.ndarray:
        column: np.ndarray = getattr(columns, name)
        delattr(columns, name)
        return column[keep]

    return AnnotationTable(
        path=path,
        folder=folder,
        categories=tuple(categories),
        images=images,
        starts=np.searchsorted(taken("image_index"), np.arange(len(images) + 1)),
        mentions_class=mentions_class,
        annotation_ids=taken("ids"),
        class_ids=taken("class_ids"),
        boxes_xywh=taken("boxes_xywh"),
        areas=taken("areas"),
        iscrowd=taken("iscrowd"),
        asks=taken("asks"),
        scores=taken("scores"),
        dropped_boxes=count - len(keep) + columns.lost,
        clipped_boxes=int(np.count_nonzero(clipped[keep])),
    )


def _cut_boxes(columns: Columns, images: Sequence[ImageRecord]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut boxes at the border of their image, and give those without a possible area the box's, in the columns.

    Returns:
        [A] bool: which have an area in it, which were cut, and which had an impossible area.
    """
    of_images = np.fromiter(map(_limits, images), np.dtype((np.int32, 2)), len(images))
    count = len(columns.ids)
    usable, clipped, impossible = (np.zeros(count, bool) for _ in range(3))
    for start in range(0, count, AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        sides = of_images[columns.image_index[rows].clip(min=0)].astype(np.float64)
        boxes_xywh, clipped[rows], usable[rows] = _clip(columns.boxes_xywh[rows], sides)
        areas = columns.areas[rows]
        impossible[rows] = (areas < 0) | (areas > sides.prod(axis=1))
        columns.boxes_xywh[rows] = boxes_xywh
        unknown = np.isnan(areas) | impossible[rows]
        columns.areas[rows] = np.where(unknown, boxes_xywh[:, 2] * boxes_xywh[:, 3], areas)
    return usable, clipped, impossible


def take_images(table: AnnotationTable, indexes: Sequence[int]) -> AnnotationTable:
    """The part of a table that is of the images at these indexes, ascending."""
    rows = table.rows_of(indexes)
    return replace(
        table,
        images=picked(table.images, indexes),
        starts=np.concatenate([[0], np.cumsum(np.diff(table.starts)[list(indexes)], dtype=np.int64)]),
        mentions_class=table.mentions_class[list(indexes)],
        annotation_ids=table.annotation_ids[rows],
        class_ids=table.class_ids[rows],
        boxes_xywh=table.boxes_xywh[rows],
        areas=table.areas[rows],
        iscrowd=table.iscrowd[rows],
        asks=table.asks[rows],
        scores=table.scores[rows],
        raw_images=tuple(table.raw_images[index] for index in indexes) if table.raw_images else (),
    )


def to_dataset(table: AnnotationTable) -> Dataset:
    """Labelled images, as sources of batches take them."""
    # no more than this is held, and not the table
    images, starts, class_ids, iscrowd = table.images, table.starts, table.class_ids, table.iscrowd
    boxes_xyxy = xywh_to_xyxy(table.boxes_xywh)
    areas, scores = table.areas.astype(np.float32), table.scores.astype(np.float32)

    def labelled(index: int) -> LabelledImage:
        image, rows = images[index], slice(starts[index], starts[index + 1])
        return LabelledImage(
            image_id=image.image_id,
            file_name=image.file_name,
            height=image.height,
            width=image.width,
            boxes_xyxy=boxes_xyxy[rows],
            class_ids=class_ids[rows],
            iscrowd=iscrowd[rows],
            areas=areas[rows],
            scores=scores[rows],
            split=image.split,
            capture=_capture(image),
        )

    timeless = sum(bool(image.camera) and _capture(image) is None for image in images)
    if timeless:
        what = "images name a camera, but no time (date_captured) that can be read: they count as single photographs"
        _log.warning("%s: %d %s", table.path, timeless, what)
    category_ids = tuple(category.id for category in table.categories)
    every = LazySequence(labelled, range(len(images)))
    return Dataset(every, table.class_names, category_ids, table.folder, follows_links(table.folder))


def xywh_to_xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    """[N, 4] float64 (x, y, width, height) to [N, 4] float32 (x_min, y_min, x_max, y_max), pixels."""
    boxes_xyxy = np.empty(boxes_xywh.shape, np.float32)
    boxes_xyxy[:, :2] = boxes_xywh[:, :2]
    boxes_xyxy[:, 2:] = boxes_xywh[:, :2] + boxes_xywh[:, 2:]
    return boxes_xyxy


def _capture(image: ImageRecord) -> Capture | None:
    try:
        return capture_of(image.camera, image.date_captured)
    except ValueError:
        return None


def choose_categories(known: Sequence[Category], classes: Sequence[str] | None, path: Path) -> tuple[Category, ...]:
    """The categories of these names, as `choose_names` takes them, in their order; all for None.

    A warning asks whether two that look alike are one.

    Raises:
        ConfigError: No such class, or none at all.
    """
    if pairs := look_alikes([category.name for category in known]):
        names, more = "'{}' and '{}'".format(*pairs[0]), f" and {len(pairs) - 1} more pairs" if pairs[1:] else ""
        _log.warning("%s: classes that look alike: %s%s: if they are one, give it one name there", path, names, more)
    if classes is None:
        return tuple(known)
    by_name = {category.name: category for category in known}
    return tuple(by_name[name] for name in choose_names(classes, by_name, str(path)))


def check_file_name(name: str, path: Path) -> None:
    """Raise DataError if the name of an image may lead out of its folder, on any system, or cannot be written."""
    if _REFUSED_NAME.search(name.replace("\\", "/")):
        raise DataError(
            f"{path}: the file_name {name!r} is refused: it may lie outside the images folder",
            "write it relative to that folder, with forward slashes and without '..' or control characters",
        )


def _check_class_name(name: str, path: Path) -> None:
    """Raise DataError if the name of a class cannot be written in every format."""
    if re.search(_UNWRITABLE, name) or not name.strip():
        raise DataError(
            f"{path}: the class name {name!r} is refused: it is empty, or has control characters",
            "give it another name",
        )


def _check_split(name: str, path: Path) -> None:
    """Raise DataError if the name of a split cannot be that of a folder, on any system, as other formats have it."""
    if name in (".", "..") or _REFUSED_SPLIT.search(name):
        raise DataError(
            f"{path}: the split {name!r} is refused: no folder can be called that",
            "call it train, val, test or another plain word, or leave it out",
        )


def _limits(image: ImageRecord) -> tuple[int, int]:
    """Sides to cut boxes at; of an image that cannot be read the boxes stay, until it is left out for that reason."""
    is_known = (image.height, image.width) != UNKNOWN_SIDES
    return (image.width, image.height) if is_known else (LONGEST_SIDE, LONGEST_SIDE)


def _warn(path: Path, columns: Columns, which: np.ndarray, what: str) -> None:
    rows = np.flatnonzero(which)
    if len(rows):
        _log.warning("%s: %d annotations %s; the first %s", path, len(rows), what, columns.where(int(rows[0])))


def _clip(boxes_xywh: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut boxes [A, 4] at sides [A, 2] (width, height); also which were by more than rounding, and which have area."""
    with np.errstate(over="ignore"):
        far = boxes_xywh[:, :2] + boxes_xywh[:, 2:]
    near_inside, far_inside = np.clip(boxes_xywh[:, :2], 0, sides), np.clip(far, 0, sides)
    # in float32, as they are used: a sliver may vanish there
    usable = (far_inside.astype(np.float32) > near_inside.astype(np.float32)).all(axis=1)
    cut = (near_inside != boxes_xywh[:, :2]).any(axis=1) | (far_inside != far).any(axis=1)
    rows = np.flatnonzero(cut)
    beyond = np.maximum(abs(near_inside[rows] - boxes_xywh[rows, :2]), abs(far_inside[rows] - far[rows]))
    clipped = cut.copy()
    clipped[rows] = (beyond > _ROUNDING).any(axis=1)
    cut_xywh = np.concatenate([near_inside, far_inside - near_inside], axis=1)
    # boxes that were not cut keep the file's very numbers
    return np.where(cut[:, None], cut_xywh, boxes_xywh), clipped, usable
