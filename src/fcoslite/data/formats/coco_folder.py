"""Folders with COCO files: ours, COCO's own, and those that Roboflow, CVAT and Label Studio export."""

import logging
import os
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Raw

from fcoslite.data.dataset import AnnotationTable, ImageRecord
from fcoslite.data.formats.box_forms import BoxForm
from fcoslite.data.formats.coco import encode_annotations
from fcoslite.data.formats.coco_columns import open_coco, with_changes
from fcoslite.data.formats.files import by_split, choose_splits, split_of
from fcoslite.data.formats.table import take_images
from fcoslite.errors import DataError

_log = logging.getLogger("fcoslite")

IMAGES = "images"
ANNOTATIONS = "annotations.json"
_FOLDER = "annotations"
_PREFIX = "instances_"
_NO_SPLIT = "default"  # as CVAT calls it
_ROBOFLOW = "_annotations.coco.json"
_OTHERS = (
    "manifest.json",
    "notes.json",
    "package.json",
)  # ours, Label Studio's beside YOLO labels, and what lies about


def find_coco(folder: Path) -> str | None:
    """The file that makes a folder a COCO data set; None if it is none."""
    files = _files(folder)
    return next(iter(files.values())).relative_to(folder).as_posix() if files else None


def open_coco_folder(
    path: Path,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    images: Path | None = None,
    boxes: BoxForm = "xywh",
) -> AnnotationTable:
    """Read a COCO instances file, or those of a folder.

    Args:
        path: A file; or a folder with annotations.json and images/, with annotations/instances_train2017.json and
            train2017/, with train/_annotations.coco.json, or with one JSON file.
        classes: Names whose annotations to read, class ids in this order; None: all, by category id.
        split: The only one to read.
        images: The folder that file names are relative to; None: found.
        boxes: What the numbers of `bbox` are, see `open_coco`.

    Raises:
        DataError: A file is missing or cannot be used, or files contradict each other.
        ConfigError: No such class.
    """
    files = _files(path) if path.is_dir() else {"": path}
    if not files:
        raise DataError(f"{path} has no COCO file", f"it is called {ANNOTATIONS}, or annotations/{_PREFIX}train.json")
    if set(files) != {""}:
        files = choose_splits({name: file for name, file in files.items() if name or split is None}, split, path)
    root = path if path.is_dir() else path.parent
    parts = {
        name: open_coco(file, classes, [images] if images is not None else _places(file, root), boxes)
        for name, file in files.items()
    }
    table = _merge(parts, path)
    if split is None or set(files) != {""}:
        return table
    of_split: dict[str, list[int]] = {}
    for index, image in enumerate(table.images):
        if image.split is not None:
            of_split.setdefault(image.split, []).append(index)
    [indexes] = choose_splits(of_split, split, path).values()
    return take_images(table, indexes)


def _files(folder: Path) -> dict[str, Path]:
    """The COCO files of a folder by their splits; "" for one that is of none."""
    if (folder / ANNOTATIONS).is_file() and _is_map(folder / ANNOTATIONS):
        return {"": folder / ANNOTATIONS}
    parts = [path for path in sorted(folder.iterdir()) if path.is_dir() and split_of(path.name)]
    places = [("", folder), *((place.name, place) for place in parts)]
    found = by_split([(word, place / _ROBOFLOW) for word, place in places if (place / _ROBOFLOW).is_file()])
    if not found:
        files = sorted((folder / _FOLDER).glob(f"{_PREFIX}*.json"))
        found = by_split([("" if _word(file) == _NO_SPLIT else _word(file), file) for file in files])
    if not found:
        maps = [
            file
            for place in (folder, folder / _FOLDER)
            for file in sorted(place.glob("*.json"))
            if file.name not in _OTHERS and _is_map(file)
        ]
        if len(maps) > 1:
            names = ", ".join(file.relative_to(folder).as_posix() for file in maps[:4])
            hint = "name the one that is meant, in place of the folder"
            raise DataError(f"{folder} has {len(maps)} JSON files ({names})", hint)
        return {"": maps[0]} if maps else {}
    return found


def _word(file: Path) -> str:
    return file.stem.removeprefix(_PREFIX)


def _places(file: Path, root: Path) -> list[Path]:
    """Where the images of a file may be."""
    word, beside = _word(file), file.parent
    bases = [beside] if beside == root or beside.name != _FOLDER else [beside.parent, beside]
    if beside.name == _FOLDER and beside == root:
        bases = [beside.parent, beside]
    return [place for base in bases for place in (base / IMAGES / word, base / word, base / IMAGES, base)]


def _is_map(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return not opened.read(4096).removeprefix(BOM_UTF8).lstrip().startswith(b"[")
    except OSError:
        return False


def write_coco(table: AnnotationTable, names: Sequence[str], folder: Path) -> None:
    """Write annotations.json; where there are splits, annotations/instances_train.json and so on.

    Args:
        table: What to write.
        names: Of the images in images/.
        folder: Gets the files.
    """
    table = rename_images(table, names)
    if not table.split_names:
        (folder / ANNOTATIONS).write_bytes(encode_annotations(table, range(len(names))))
        return
    of_split: dict[str, list[int]] = {}
    for index, image in enumerate(table.images):
        of_split.setdefault(image.split or _NO_SPLIT, []).append(index)
    (folder / _FOLDER).mkdir(exist_ok=True)
    for split, indexes in of_split.items():
        (folder / _FOLDER / f"{_PREFIX}{split}.json").write_bytes(encode_annotations(table, indexes))


def rename_images(table: AnnotationTable, names: Sequence[str]) -> AnnotationTable:
    """The same with other file names; what else COCO's image records say is kept."""
    if not table.raw_images:
        images = [
            msgspec.structs.replace(image, file_name=name) for image, name in zip(table.images, names, strict=True)
        ]
        return replace(table, images=tuple(images))
    pairs = [
        with_changes(image, raw, file_name=name)
        for image, raw, name in zip(table.images, table.raw_images, names, strict=True)
    ]
    return replace(table, images=tuple(image for image, _ in pairs), raw_images=tuple(raw for _, raw in pairs))


def _merge(parts: Mapping[str, AnnotationTable], path: Path) -> AnnotationTable:
    """One table of the files of all splits; images and annotations are numbered anew if they share numbers."""
    tables = list(parts.values())
    first = tables[0]
    if len(parts) == 1 and "" in parts:
        return first
    for name, table in parts.items():
        if table.class_names != first.class_names:
            raise DataError(
                f"{table.path} lists other categories than {first.path}", "make them alike, or take one with --split"
            )
        if table.licenses != first.licenses:
            _log.warning("%s: the licences of %s are not kept", path, name)
    folder = Path(os.path.commonpath([table.folder for table in tables]))
    image_ids = np.concatenate([[image.image_id for image in table.images] for table in tables])
    if len(np.unique(image_ids)) < len(image_ids):
        image_ids = np.arange(1, len(image_ids) + 1)
    annotation_ids = np.concatenate([table.annotation_ids for table in tables])
    if len(np.unique(annotation_ids)) < len(annotation_ids):
        annotation_ids = np.arange(1, len(annotation_ids) + 1)
    images: list[ImageRecord] = []
    raw_images: list[Raw] = []
    for name, table in parts.items():
        within = table.folder.relative_to(folder)
        for image, raw in zip(table.images, table.raw_images, strict=True):
            record, changed = with_changes(
                image,
                raw,
                image_id=int(image_ids[len(images)]),
                file_name=(within / image.file_name).as_posix(),
                split=name or None,
            )
            images.append(record)
            raw_images.append(changed)
    order = np.argsort(image_ids, kind="stable").tolist()
    starts = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(table.starts) for table in tables]))])
    whole = replace(
        first,
        path=path,
        folder=folder,
        images=tuple(images),
        raw_images=tuple(raw_images),
        starts=starts.astype(np.int64),
        mentions_class=np.concatenate([table.mentions_class for table in tables]),
        annotation_ids=annotation_ids,
        class_ids=np.concatenate([table.class_ids for table in tables]),
        boxes_xywh=np.concatenate([table.boxes_xywh for table in tables]),
        areas=np.concatenate([table.areas for table in tables]),
        iscrowd=np.concatenate([table.iscrowd for table in tables]),
        asks=np.concatenate([table.asks for table in tables]),
        scores=np.concatenate([table.scores for table in tables]),
        dropped_boxes=sum(table.dropped_boxes for table in tables),
        clipped_boxes=sum(table.clipped_boxes for table in tables),
    )
    return take_images(whole, order)
