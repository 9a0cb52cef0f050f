"""A COCO instances file as checked columns: small enough in memory for ten million images.

The file is memory-mapped and decoded straight into the few fields that detection needs; polygons are
skipped without being built. Image records keep their original bytes, so that licences and attributions
pass through an extract unchanged.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Raw

from fcoslite.data.dataset import AnnotationTable, Category, Id, ImageRecord
from fcoslite.data.formats.box_forms import BoxForm, as_pixels
from fcoslite.data.formats.coco_loose import Oddities
from fcoslite.data.formats.duplicates import refuse_duplicate_categories, refuse_duplicate_ids
from fcoslite.data.formats.files import sides_of
from fcoslite.data.formats.json_file import OtherTreeError, decode_json
from fcoslite.data.formats.json_pieces import decoded_in_pieces
from fcoslite.data.formats.table import Columns, assemble, check_file_name, choose_categories
from fcoslite.data.lazy import packed
from fcoslite.errors import DataError

_log = logging.getLogger("fcoslite")

_Score = Annotated[float, Meta(gt=0, le=1)]


_LOOKED_AT = 3
_HINT = (
    "it needs images, categories, and annotations with id, image_id, category_id, bbox [x, y, w, h]; "
    "a score, where there is one, is above 0 and at most 1"
)


class _Annotation(msgspec.Struct, gc=False):
    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    iscrowd: int | bool = 0
    area: float | None = None
    score: _Score | None = None
    ask: bool = False  # ours: a detector's box that a human has yet to judge, ignored as a crowd is until then


class _Document(msgspec.Struct):
    images: list[Raw]
    annotations: Raw
    categories: list[Category]
    info: Raw = Raw(b"{}")
    licenses: Raw = Raw(b"[]")


@dataclass
class _Annotations:
    """In columns, see `Columns`; at first of all categories."""

    ids: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    iscrowd: np.ndarray
    asks: np.ndarray
    scores: np.ndarray

    def keep(self, which: np.ndarray) -> None:
        """Only those; column by column, since twice all of them would be much."""
        if not which.all():
            for column in fields(self):
                setattr(self, column.name, getattr(self, column.name)[which])


def open_coco(
    path: Path, classes: Sequence[str] | None = None, places: Sequence[Path] = (), boxes: BoxForm = "xywh"
) -> AnnotationTable:
    """Read and check an instances file.

    Args:
        path: The JSON file.
        classes: Names whose annotations to read, class ids in this order; None: all, by category id.
        places: Folders that its file names may be relative to: the first that has one of the first images.
        boxes: What the numbers of `bbox` are: x, y, width, height in pixels, as COCO has it; x1, y1, x2, y2; or x, y,
            width, height as fractions of the image. A warning asks where another one seems to be meant.

    Raises:
        DataError: The file is missing, not JSON, not of this format, or contradicts itself.
        ConfigError: No such class.
    """
    oddities = Oddities(path, _HINT)
    document, annotations = _decode(path, oddities)
    known = _known(document.categories, path, oddities)
    offered = known if classes is not None else _without_roots(known, annotations.category_ids, path)
    categories = choose_categories(offered, classes, path)
    folder, records, raw_images = _images(document.images, path, oddities, places)
    oddities.warn()
    class_ids = _class_ids(annotations, known, categories, path)
    columns = _columns(annotations, class_ids, records, oddities.without_box)
    del annotations, class_ids  # each column has one owner, so that it goes when it is taken
    refuse_duplicate_ids(
        columns.ids, "annotation id", path, lambda row: f"a box of {_named(records, columns.image_index[row])}"
    )
    columns = as_pixels(columns, records, boxes, path)
    table = assemble(path, folder, categories, records, columns)
    return replace(table, info=document.info, licenses=document.licenses, raw_images=tuple(raw_images))


def _decode(path: Path, oddities: Oddities) -> tuple[_Document, _Annotations]:
    try:
        document = decode_json(path, _Document, "a COCO instances file", _HINT)
        return document, _annotations(decoded_in_pieces(document.annotations, _Annotation))
    except (OtherTreeError, msgspec.ValidationError):
        loose, categories = oddities.document()
    annotations = []
    for index, one in enumerate(loose.annotations):
        place = f"$.annotations[{index}]"
        box = oddities.box(one, place)
        if box is None:
            continue
        score = None if one.score is None else oddities.real(one.score, f"{place}.score")
        if score is not None and not 0 < score <= 1:
            raise oddities.refuse(f"Expected a score > 0.0 and <= 1.0, got {score}", f"{place}.score")
        annotations.append(
            _Annotation(
                id=-1 if one.id is None else oddities.whole(one.id, f"{place}.id"),
                image_id=oddities.whole(one.image_id, f"{place}.image_id"),
                category_id=oddities.whole(one.category_id, f"{place}.category_id"),
                bbox=box,
                iscrowd=oddities.crowd(one.iscrowd, f"{place}.iscrowd"),
                area=None if one.area is None else oddities.real(one.area, f"{place}.area"),
                score=score,
                ask=bool(one.ask) and oddities.crowd(one.ask, f"{place}.ask"),
            )
        )
    nameless = [item for item in annotations if item.id < 0]
    highest = max((item.id for item in annotations), default=0)
    for number, item in enumerate(nameless, start=max(highest, 0) + 1):
        oddities.count("annotations have no id, and get one")
        item.id = number
    document = _Document(loose.images, Raw(b"[]"), categories, loose.info, loose.licenses)
    return document, _annotations([annotations])


def _annotations(pieces: Iterable[list[_Annotation]]) -> _Annotations:
    """Annotations that come some at a time."""
    empty = _in_columns([])
    contents = [bytearray() for _ in empty]  # which grow, and are not held twice to be put together
    for items in pieces:
        for content, column in zip(contents, _in_columns(items), strict=True):
            content += column.data.cast("B") if len(items) else b""
    columns = map(np.frombuffer, contents, (column.dtype for column in empty))
    return _Annotations(*(column.reshape(-1, *like.shape[1:]) for column, like in zip(columns, empty, strict=True)))


def _in_columns(items: list[_Annotation]) -> tuple[np.ndarray, ...]:
    """As in `_Annotations`."""
    return (
        np.array([item.id for item in items], np.int64),
        np.array([item.image_id for item in items], np.int64),
        np.array([item.category_id for item in items], np.int64),
        np.array([item.bbox for item in items], np.float64).reshape(-1, 4),
        np.array([np.nan if item.area is None else item.area for item in items], np.float64),
        np.array([bool(item.iscrowd) or item.ask for item in items], bool),
        np.array([item.ask for item in items], bool),
        np.array([1.0 if item.score is None else item.score for item in items], np.float64),
    )


def _named(images: Sequence[ImageRecord], index: int) -> str:
    return f"image {images[index].image_id}" if index >= 0 else "an image that it does not list"


def _images_folder(images: Sequence[ImageRecord], places: Sequence[Path], path: Path) -> Path | None:
    for image in images:
        check_file_name(image.file_name, path)
    for place in places:
        if any((place / image.file_name).is_file() for image in images):
            return place
    return next((place for place in places if place.is_dir()), None)


def _known(known: list[Category], path: Path, oddities: Oddities) -> list[Category]:
    if not known:
        raise DataError(f"{path} lists no categories", "its `categories` section names the classes of the boxes")
    known = sorted(known, key=lambda category: category.id)
    refuse_duplicate_categories([(category.id, category.name) for category in known], path)
    return [oddities.category(one) for one in known]


def _without_roots(known: list[Category], category_ids: np.ndarray, path: Path) -> list[Category]:
    """Without those that have no box and stand above others: Roboflow's name of the project is no class."""
    used = set(np.unique(category_ids).tolist())
    above = {one.supercategory for one in known if one.supercategory != one.name}
    marked = [one for one in known if one.supercategory == "none"]  # as Roboflow marks it: the first, and no other
    first = known[0] if len(known) > 1 and marked == known[:1] else None
    roots = [one for one in known if one.id not in used and (one.name in above or one is first)]
    for one in roots:
        _log.info("%s: '%s' has no box and stands above other categories: it is no class", path, one.name)
    return [one for one in known if one not in roots]


def _class_ids(
    annotations: _Annotations, known: Sequence[Category], chosen: Sequence[Category], path: Path
) -> np.ndarray:
    """[A] int32, 0 for categories that are not chosen, or not known, which is warned of."""
    category_ids = np.array([category.id for category in known], np.int64)  # ascending
    places = np.searchsorted(category_ids, annotations.category_ids).clip(max=len(known) - 1)
    unknown = np.flatnonzero(category_ids[places] != annotations.category_ids)
    if len(unknown):
        what = "annotations are of a category that it does not list and are left out"
        _log.warning("%s: %d %s; the first has id %d", path, len(unknown), what, annotations.ids[unknown[0]])
    numbers = {category.id: number for number, category in enumerate(chosen, start=1)}
    class_ids = np.array([numbers.get(category.id, 0) for category in known], np.int32)[places]
    class_ids[unknown] = 0
    return class_ids


def _columns(annotations: _Annotations, class_ids: np.ndarray, images: Sequence[ImageRecord], lost: int) -> Columns:
    """Those of the chosen classes."""
    chosen = class_ids > 0
    annotations.keep(chosen)
    image_ids = annotations.image_ids
    known_ids = np.fromiter((image.image_id for image in images), np.int64, len(images))
    image_index = np.searchsorted(known_ids, image_ids).clip(max=len(images) - 1)
    image_index[known_ids[image_index] != image_ids] = -1
    columns = Columns(
        ids=annotations.ids,
        image_index=image_index,
        class_ids=class_ids[chosen],
        boxes_xywh=annotations.boxes_xywh,
        areas=annotations.areas,
        iscrowd=annotations.iscrowd,
        asks=annotations.asks,
        scores=annotations.scores,
        where=lambda row: f"has id {columns.ids[row]}",
        lost=lost,
    )
    return columns


def _images(
    raw_images: list[Raw], path: Path, oddities: Oddities, places: Sequence[Path]
) -> tuple[Path, Sequence[ImageRecord], list[Raw]]:
    """The folder of the image files; records by image id; and the same as they stand in the file."""
    if not raw_images:
        raise DataError(f"{path} lists no images", "its `images` section is empty")
    decode = msgspec.json.Decoder(ImageRecord).decode
    odd: dict[int, ImageRecord] = {}

    def read(index: int) -> ImageRecord:
        return odd[index] if index in odd else decode(raw_images[index])

    ids = np.empty(len(raw_images), np.int64)
    for index, raw in enumerate(raw_images):
        try:
            image = decode(raw)
        except msgspec.DecodeError:
            image, raw_images[index] = oddities.image(raw, f"$.images[{index}]", sides_may_lack=bool(places))
            odd[index] = image
        if "\\" in image.file_name:
            check_file_name(image.file_name, path)  # as it stands there
            oddities.count("file names have backslashes, and are taken with slashes")
            slashes = image.file_name.replace("\\", "/")
            odd[index], raw_images[index] = with_changes(image, raw_images[index], file_name=slashes)
        ids[index] = image.image_id
    refuse_duplicate_ids(ids, "image id", path, lambda place: read(place).file_name)
    order = np.argsort(ids).tolist()
    folder = _images_folder([read(index) for index in order[:_LOOKED_AT]], places, path) or path.parent
    _find_sides(odd, raw_images, folder, oddities)
    records = packed((read(index) for index in order), ImageRecord)
    return folder, records, [raw_images[index] for index in order]


def _find_sides(odd: dict[int, ImageRecord], raw_images: list[Raw], folder: Path, oddities: Oddities) -> None:
    """Put in the sides of images that lack them, by their headers."""
    unknown = [index for index, image in odd.items() if not (image.height and image.width)]
    sides = sides_of([odd[index].file_name for index in unknown], folder)
    for index, (height, width) in zip(unknown, sides, strict=True):
        oddities.count("images have no width or height: their header tells")
        odd[index], raw_images[index] = with_changes(odd[index], raw_images[index], height=height, width=width)


def with_changes(image: ImageRecord, raw: Raw, **changes: Any) -> tuple[ImageRecord, Raw]:
    """An image record, and the same as the file has it, with other values."""
    image = msgspec.structs.replace(image, **changes)
    return image, rewritten(raw, image)


def rewritten(raw: Raw, image: ImageRecord) -> Raw:
    """A record as a file has it, for this image; what else it says is kept."""
    kept = {key: value for key, value in msgspec.json.decode(raw).items() if key != "split"}
    return Raw(msgspec.json.encode(kept | msgspec.to_builtins(image)))
