"""What stands in records, looked up one by one: their labels as a table, and their pictures by place."""

import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fcoslite.data.dataset import AnnotationTable, Category, ImageRecord, LabelledImage
from fcoslite.data.formats.table import Columns, assemble, choose_categories
from fcoslite.data.images import UnusableImageError, decode_image
from fcoslite.data.records.manifest import REBUILD, load_manifest
from fcoslite.data.records.schema import labelled_image, picture_of
from fcoslite.data.records.verify import find_bad_records
from fcoslite.data.skipped import SkippedImage
from fcoslite.errors import DataError
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.machine.backend import load_tensorflow
from fcoslite.progress import Progress, no_progress

_log = logging.getLogger("fcoslite")

_HEAD, _TAIL = 12, 4  # bytes around a record: its length with a checksum, and its own


class _Place(NamedTuple):
    file: Path
    offset: int
    length: int

    def read(self) -> bytes:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


@dataclass(frozen=True)
class RecordPictures:
    """The pictures of records, by position in their table.

    Attributes:
        folder: Of the records.
        image_size: Of the letterboxed pictures, pixels.
        places: Of the records.
    """

    folder: Path
    image_size: int
    places: tuple[_Place, ...]

    def read(self, index: int) -> tuple[bytes, np.ndarray]:
        """A compressed picture, and its pixels without padding, in the size of the original [h, w, 3].

        Raises:
            UnusableImageError: It cannot be read any more.
        """
        place = self.places[index]
        try:
            content = place.read()
            image, encoded = labelled_image(content, self.image_size), picture_of(content)
        except (OSError, ValueError, LookupError):
            raise UnusableImageError(place.file, "cannot be read any more") from None
        pixels = decode_image(encoded, place.file, (self.image_size, self.image_size))
        inside = Letterbox.square(image.height, image.width, self.image_size).inside
        return encoded, cv2.resize(pixels[inside], (image.width, image.height), interpolation=cv2.INTER_LINEAR)

    def explain(self, unusable: Sequence[SkippedImage], indexes: Sequence[int]) -> str:
        """What to do about those that cannot be used."""
        return f"`fcoslite records verify {self.folder} --deep` names them; copy those shards again, or {REBUILD}"


def holds_records(path: Path) -> bool:
    """Whether a path is a folder with TFRecords, or one of them."""
    if path.is_file():
        return path.suffix == ".tfrecord"
    return path.is_dir() and next(path.glob("*.tfrecord"), None) is not None


def open_records(
    folder: Path, classes: Sequence[str] | None = None, workers: int = 1, progress: Progress = no_progress
) -> tuple[AnnotationTable, RecordPictures, tuple[SkippedImage, ...]]:
    """Read the labels of all records, in pixels of the original images.

    Args:
        folder: As `build-records` writes it.
        classes: Names whose boxes to read, class ids in this order; None: all.
        workers: Threads that compare checksums.
        progress: Told of every shard, twice.

    Returns:
        The table, pictures by position in it, and the records that cannot be read.

    Raises:
        DataError: The folder holds no records of ours, or none that can be read.
        ConfigError: No such class.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is one file of records", f"name their folder: {folder.parent}")
    manifest = load_manifest(folder)
    load_tensorflow()
    bad = find_bad_records(folder, manifest, range(manifest.count), workers, progress)
    if len(bad) == manifest.count:
        raise DataError(f"none of the {len(bad)} records in {folder} can be read; the first: {bad[0]}", REBUILD)
    if bad:
        text = "%s: %d of %d records cannot be read and are left out; the first: %s"
        _log.warning(text, folder, len(bad), manifest.count, bad[min(bad)])
    known = [Category(number, name) for number, name in enumerate(manifest.class_names, start=1)]
    chosen = choose_categories(known, classes, folder)
    labels = _Labels([one.id for one in chosen], len(known))
    places: list[_Place] = []
    skipped: list[SkippedImage] = []
    with progress("Reading records", len(manifest.shards), "shards") as advance:
        for shard, start, ours in manifest.shards_of(range(manifest.count)):
            found = _places(folder / shard.name, [position - start for position in ours if position not in bad])
            labels.add([labelled_image(place.read(), manifest.image_size) for place in found])
            places += found
            skipped += [
                SkippedImage(-1, f"{shard.name}, record {position - start}", bad[position].problem)
                for position in ours
                if position in bad
            ]
            advance()
    table, order = labels.table(folder, chosen)
    return table, RecordPictures(folder, manifest.image_size, tuple(places[index] for index in order)), tuple(skipped)


def _places(path: Path, kept: Sequence[int]) -> list[_Place]:
    """Where some records of a shard, ascending, lie; only the lengths are read."""
    places: list[_Place] = []
    if not kept:  # the file may be missing
        return places
    wanted = iter(kept)
    position = next(wanted, None)
    offset = number = 0
    with path.open("rb") as file:
        while position is not None:
            file.seek(offset)
            [length] = struct.unpack("<Q", file.read(8))
            if number == position:
                places.append(_Place(path, offset + _HEAD, length))
                position = next(wanted, None)
            offset += _HEAD + length + _TAIL
            number += 1
    return places


class _Labels:
    """Labels, shard by shard; those of the chosen classes, of so many, become a table."""

    def __init__(self, chosen: Sequence[int], classes: int) -> None:
        self._class_of = np.zeros(classes + 1, np.int32)
        self._class_of[list(chosen)] = np.arange(1, len(chosen) + 1)
        self._images: list[ImageRecord] = []
        self._counts: list[int] = []
        self._columns: list[tuple[np.ndarray, ...]] = []

    def add(self, images: Sequence[LabelledImage]) -> None:
        """Add those of a shard."""
        self._images += [ImageRecord(one.image_id, one.file_name, one.height, one.width) for one in images]
        self._counts += [len(one.class_ids) for one in images]
        if images:
            columns = zip(*((i.class_ids, i.boxes_xyxy, i.areas, i.iscrowd, i.scores) for i in images), strict=True)
            self._columns.append(tuple(map(np.concatenate, columns)))

    def table(self, folder: Path, chosen: Sequence[Category]) -> tuple[AnnotationTable, list[int]]:
        """All of them, and the order that they were in, by position in the table."""
        order = np.argsort([image.image_id for image in self._images], kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        old_ids, boxes, areas, crowds, scores = map(np.concatenate, zip(*self._columns, strict=True))
        self._columns.clear()
        class_ids = self._class_of[old_ids]
        keep = np.flatnonzero(class_ids)
        image_index = np.repeat(place, self._counts)[keep]
        boxes = boxes[keep].astype(np.float64)
        columns = Columns(
            ids=keep + 1,
            image_index=image_index,
            class_ids=class_ids[keep],
            boxes_xywh=np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1),
            areas=areas[keep].astype(np.float64),
            iscrowd=crowds[keep],
            asks=np.zeros(len(keep), bool),
            scores=scores[keep].astype(np.float64),
            where=lambda row: f"is one of {self._images[order[image_index[row]]].file_name}",
        )
        images = [self._images[index] for index in order.tolist()]
        table = assemble(folder, folder, chosen, images, columns)
        return replace(table, clipped_boxes=0), order.tolist()  # by rounding, if at all
