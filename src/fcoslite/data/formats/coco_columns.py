"""A COCO instances file as checked columns: small enough in memory for all of train2017.

The file is memory-mapped and decoded straight into the few fields that detection needs; polygons are
skipped without being built. Image records keep their original bytes, so that licences and attributions
pass through an extract unchanged.
"""

import codecs
import logging
import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Raw

from fcoslite.data.formats.class_choice import chosen_names, listed
from fcoslite.data.formats.duplicates import refuse_duplicate_categories, refuse_duplicate_ids, refuse_shared_files
from fcoslite.errors import ConfigError, DataError, closest

_log = logging.getLogger("fcoslite")

_Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Side = Annotated[int, Meta(ge=1, le=1_000_000)]
_Score = Annotated[float, Meta(gt=0, le=1)]


# absolute, of a Windows drive, upwards, empty, or with control characters, which a terminal would obey
_REFUSED_NAME = re.compile(r"^/|^.:|(^|/)\.\.(/|$)|\\|[\x00-\x1f\x7f-\x9f]|^$")
_UTF8_CHUNK = 1 << 24


class ImageRecord(msgspec.Struct, frozen=True):
    """What we need of an image: its sides are in pixels."""

    image_id: _Id = msgspec.field(name="id")
    file_name: str
    height: _Side
    width: _Side


class Category(msgspec.Struct, frozen=True):
    """A class of objects."""

    id: _Id
    name: str
    supercategory: str | None = None


class _Annotation(msgspec.Struct, gc=False):
    id: _Id
    image_id: _Id
    category_id: _Id
    bbox: tuple[float, float, float, float]
    iscrowd: int | bool = 0
    area: float | None = None
    score: _Score | None = None


class _Document(msgspec.Struct):
    images: list[Raw]
    annotations: list[_Annotation]
    categories: list[Category]
    info: Raw = Raw(b"{}")
    licenses: Raw = Raw(b"[]")


@dataclass(frozen=True)
class CocoFile:
    """The images of a file, by id ascending, and the annotations of the chosen classes in columns.

    Attributes:
        path: The file.
        info: JSON of the section of that name.
        licenses: JSON of the section of that name.
        categories: The chosen ones; class id 1 is the first.
        images: All I images, by id.
        raw_images: Their records as they stand in the file.
        starts: [I + 1] int64; the annotations of image i are rows starts[i] to starts[i + 1], by id.
        mentions_class: [I] bool, has an annotation of the classes, be it one with an unusable box.
        annotation_ids: [A] int64.
        class_ids: [A] int32, 1-based.
        boxes_xywh: [A, 4] float64, pixels, cut at the border of the image.
        areas: [A] float64, segment area in square pixels; the box's own where the file has none that is possible.
        iscrowd: [A] bool.
        scores: [A] float64 in (0, 1], how sure a detector was that drew the box; 1 where the file does not say.
        dropped_boxes: Annotations of the classes left out: no area inside an image, or no such image.
        clipped_boxes: Boxes that reached over the border of their image.
    """

    path: Path
    info: Raw
    licenses: Raw
    categories: tuple[Category, ...]
    images: tuple[ImageRecord, ...]
    raw_images: tuple[Raw, ...]
    starts: np.ndarray
    mentions_class: np.ndarray
    annotation_ids: np.ndarray
    class_ids: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    iscrowd: np.ndarray
    scores: np.ndarray
    dropped_boxes: int
    clipped_boxes: int

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id - 1."""
        return tuple(category.name for category in self.categories)

    def rows(self, image: int) -> slice:
        """Rows of the annotations of the image at that index."""
        return slice(int(self.starts[image]), int(self.starts[image + 1]))


def open_coco(path: Path, classes: Sequence[str] | None = None) -> CocoFile:
    """Read and check an instances file.

    Args:
        path: The JSON file.
        classes: Names whose annotations to read, class ids in this order, as `chosen_names` takes them; None: all, by
            category id.

    Raises:
        DataError: The file is missing, not JSON, not of this format, or contradicts itself.
        ConfigError: No such class.
    """
    document = _decode(path)
    categories = _choose(document.categories, classes, path)
    images, raw_images = _images(document.images, path)
    class_of = dict.fromkeys((category.id for category in document.categories), 0)
    class_of |= {category.id: index for index, category in enumerate(categories, start=1)}
    unknown = [item.id for item in document.annotations if item.category_id not in class_of]
    _warn(path, unknown, "are of a category that it does not list and are left out")
    ids, image_ids, class_ids, boxes_xywh, areas, iscrowd, scores = _columns(document.annotations, class_of)
    document.annotations.clear()  # a third of a gigabyte per million, and no longer needed
    refuse_duplicate_ids(ids, "annotation id", path, lambda row: f"a box of image {image_ids[row]}")

    known_ids = np.fromiter((image.image_id for image in images), np.int64, len(images))
    image_index = np.searchsorted(known_ids, image_ids).clip(max=len(images) - 1)
    has_image = known_ids[image_index] == image_ids
    sides = np.array([(image.width, image.height) for image in images], np.float64)[image_index]
    boxes_xywh, clipped, usable = _clip(boxes_xywh, sides)
    impossible = (areas < 0) | (areas > sides.prod(axis=1))
    areas = np.where(np.isnan(areas) | impossible, boxes_xywh[:, 2] * boxes_xywh[:, 3], areas)
    mentions_class = np.zeros(len(images), bool)
    mentions_class[image_index[has_image]] = True
    _warn(path, ids[~has_image], "belong to an image that it does not list and are left out")
    _warn(path, ids[has_image & ~usable], "have a box without area inside its image and are left out")
    _warn(path, ids[has_image & usable & impossible], "have an impossible area; that of the box is taken")

    keep = np.flatnonzero(has_image & usable)
    keep = keep[np.lexsort((ids[keep], image_index[keep]))]
    return CocoFile(
        path=path,
        info=document.info,
        licenses=document.licenses,
        categories=categories,
        images=images,
        raw_images=raw_images,
        starts=np.searchsorted(image_index[keep], np.arange(len(images) + 1)),
        mentions_class=mentions_class,
        annotation_ids=ids[keep],
        class_ids=class_ids[keep],
        boxes_xywh=boxes_xywh[keep],
        areas=areas[keep],
        iscrowd=iscrowd[keep],
        scores=scores[keep],
        dropped_boxes=len(ids) - len(keep),
        clipped_boxes=int(np.count_nonzero(clipped[keep])),
    )


def _decode(path: Path) -> _Document:
    if not path.is_file():
        raise DataError(f"no annotation file at {path}", "it is a JSON file, such as instances_train2017.json")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", "download or write it again")
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _check_utf8(content, path)
    start = len(codecs.BOM_UTF8) if content[:3] == codecs.BOM_UTF8 else 0
    try:
        return msgspec.json.decode(memoryview(content)[start:], type=_Document)
    except msgspec.ValidationError as error:
        raise DataError(
            f"{path} is not a COCO instances file: {error}",
            "it needs images, categories, and annotations with id, image_id, category_id, bbox [x, y, w, h]; "
            "a score, where there is one, is above 0 and at most 1",
        ) from None
    except msgspec.DecodeError as error:
        raise _malformed(path, content, start, str(error)) from None
    except RecursionError:
        raise DataError(f"{path} is not a COCO instances file: it is nested too deeply", "is it damaged?") from None


def _check_utf8(content: mmap.mmap, path: Path) -> None:
    # msgspec checks the text it builds only; what it passes on unread would spoil what we write
    decoder = codecs.getincrementaldecoder("utf-8")()
    for position in range(0, len(content), _UTF8_CHUNK):
        pending = len(decoder.getstate()[0])
        chunk = content[position : position + _UTF8_CHUNK]
        try:
            decoder.decode(chunk, final=position + len(chunk) == len(content))
        except UnicodeDecodeError as error:
            byte = position - pending + error.start
            raise DataError(
                f"{path} is not UTF-8 text: byte {byte} is 0x{content[byte]:02x}",
                "JSON is UTF-8: unpack an archive first, or write the file again in that encoding",
            ) from None


def _malformed(path: Path, content: mmap.mmap, start: int, problem: str) -> DataError:
    hint = "was the download complete? an archive must be unpacked first"
    found = re.fullmatch(r"(?:JSON is malformed: )?(.*) \(byte (\d+)\)", problem)
    if found is None:  # msgspec names no place where the text just ends
        return DataError(f"{path} is cut short: the JSON is not complete at its end, byte {len(content)}", hint)
    byte = start + int(found[2])
    place = bytes(content[max(0, byte - 20) : byte + 20])
    if re.match(rb"-?(NaN|Infinity)", content[byte : byte + 9]):
        hint = "JSON knows no NaN or Infinity: mend or leave out what has them"
    return DataError(f"{path} is not valid JSON at byte {byte}: {found[1]}", f"{hint}; the place: {place!r}")


def _columns(annotations: list[_Annotation], class_of: dict[int, int]) -> tuple[np.ndarray, ...]:
    """Annotations of chosen classes: ids, image ids, class ids, boxes, areas (NaN for none), crowd flags, scores."""
    chosen = [item for item in annotations if class_of.get(item.category_id)]
    count = len(chosen)
    return (
        np.fromiter((item.id for item in chosen), np.int64, count),
        np.fromiter((item.image_id for item in chosen), np.int64, count),
        np.fromiter((class_of[item.category_id] for item in chosen), np.int32, count),
        np.fromiter((item.bbox for item in chosen), np.dtype((np.float64, 4)), count),
        np.fromiter((np.nan if item.area is None else item.area for item in chosen), np.float64, count),
        np.fromiter((bool(item.iscrowd) for item in chosen), bool, count),
        np.fromiter((1.0 if item.score is None else item.score for item in chosen), np.float64, count),
    )


def _choose(known: list[Category], classes: Sequence[str] | None, path: Path) -> tuple[Category, ...]:
    known = sorted(known, key=lambda category: category.id)
    by_name = {category.name: category for category in known}
    if not known:
        raise DataError(f"{path} lists no categories", "its `categories` section names the classes of the boxes")
    refuse_duplicate_categories([(category.id, category.name) for category in known], path)
    if classes is None:
        return tuple(known)
    chosen = chosen_names(classes, by_name)
    if not chosen:
        raise ConfigError("no class is chosen", "name at least one with --classes")
    for name in chosen:
        if name not in by_name:
            names, near = listed(list(by_name)), closest(name, list(by_name))
            raise ConfigError(f"{path} has no class '{name}'", f"{near} (it has: {names})" if near else names)
    return tuple(by_name[name] for name in chosen)


def _images(records: list[Raw], path: Path) -> tuple[tuple[ImageRecord, ...], tuple[Raw, ...]]:
    if not records:
        raise DataError(f"{path} lists no images", "its `images` section is empty")
    decoder = msgspec.json.Decoder(ImageRecord)
    pairs: list[tuple[ImageRecord, Raw]] = []
    for index, record in enumerate(records):
        try:
            pairs.append((decoder.decode(record), record))
        except msgspec.DecodeError as error:
            raise DataError(
                f"{path}: images[{index}]: {error}",
                "an image needs id, file_name, and height and width in pixels",
            ) from None
        _check_file_name(pairs[-1][0].file_name, path)
    pairs.sort(key=lambda pair: pair[0].image_id)
    images = tuple(pair[0] for pair in pairs)
    image_ids = np.array([image.image_id for image in images], np.int64)
    refuse_duplicate_ids(image_ids, "image id", path, lambda place: images[place].file_name)
    refuse_shared_files([(image.image_id, image.file_name) for image in images], path)
    return images, tuple(pair[1] for pair in pairs)


def _check_file_name(name: str, path: Path) -> None:
    if _REFUSED_NAME.search(name):
        raise DataError(
            f"{path}: the file_name {name!r} is refused: it may lie outside the images folder",
            "write it relative to that folder, with forward slashes and without '..' or control characters",
        )


def _warn(path: Path, ids: Sequence[int] | np.ndarray, what: str) -> None:
    if len(ids):
        _log.warning("%s: %d annotations %s; the first has id %d", path, len(ids), what, ids[0])


def _clip(boxes_xywh: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut boxes [A, 4] at sides [A, 2] (width, height); also which were cut, and which have area left."""
    with np.errstate(over="ignore"):
        far = boxes_xywh[:, :2] + boxes_xywh[:, 2:]
    near_inside, far_inside = np.clip(boxes_xywh[:, :2], 0, sides), np.clip(far, 0, sides)
    # in float32, as they are used: a sliver may vanish there
    usable = (far_inside.astype(np.float32) > near_inside.astype(np.float32)).all(axis=1)
    clipped = (near_inside != boxes_xywh[:, :2]).any(axis=1) | (far_inside != far).any(axis=1)
    cut_xywh = np.concatenate([near_inside, far_inside - near_inside], axis=1)
    # boxes that were not cut keep the file's very numbers
    return np.where(clipped[:, None], cut_xywh, boxes_xywh), clipped, usable


def rows_of(source: CocoFile, chosen: Sequence[int]) -> np.ndarray:
    """The rows of the annotations of the chosen images, in that order."""
    return np.concatenate([np.arange(source.starts[index], source.starts[index + 1]) for index in chosen])
