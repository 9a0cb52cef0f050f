"""YOLO data sets: data.yaml, images, and a text file per image, each line `class x_center y_center width height`."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from fcoslite.config.plain_yaml import read_yaml
from fcoslite.data.dataset import SPLITS, AnnotationTable, Category
from fcoslite.data.formats.duplicates import refuse_duplicate_categories
from fcoslite.data.formats.files import (
    choose_splits,
    files_below,
    images_below,
    number_images,
    read_text,
)
from fcoslite.data.formats.table import BoxList, assemble, choose_categories
from fcoslite.data.image_formats import is_image
from fcoslite.errors import ConfigError, DataError

_log = logging.getLogger("fcoslite")

IMAGES = "images"
_LABELS = "labels"
_CLASSES = "classes.txt"
_SLACK = 0.01  # of an image's side: what rounding, or a hand at the border, does
_LINE = "a line is `class x_center y_center width height`, or `class x1 y1 x2 y2 x3 y3 ...`, as fractions of the image"
_TRACKED = "is it the number of a track? cut that column off, or `detect` without --track"


def find_yolo(folder: Path) -> str | None:
    """The file that makes a folder a YOLO data set; None if it is none."""
    names = sorted(path.name for suffix in ("yaml", "yml") for path in folder.glob(f"*.{suffix}"))
    for name in sorted(names, key=lambda name: name.startswith("data"), reverse=True):
        try:
            document = read_yaml(read_text(folder / name), name)
        except (ConfigError, DataError):
            if name.startswith("data"):
                return name  # and whoever opens it says what is wrong
            continue
        if isinstance(document, dict) and "names" in document and set(document) & set(SPLITS):
            return name
    return _CLASSES if (folder / _CLASSES).is_file() and (folder / _LABELS).is_dir() else None


def open_yolo(path: Path, classes: Sequence[str] | None = None, split: str | None = None) -> AnnotationTable:
    """Read a data set; of the images only the headers, which tell their sides.

    Images without a label file are images without boxes. Polygons become the boxes around them.

    Args:
        path: Its data.yaml, or classes.txt beside images/ and labels/.
        classes: Names whose boxes to read, class ids in this order; None: all, by YOLO's numbers.
        split: The only one to read.

    Raises:
        DataError: A file is missing, or says what cannot be.
        ConfigError: No such class.
    """
    root = path.parent
    if path.name == _CLASSES:
        names = _names({"names": read_text(path).rstrip().splitlines()}, path)
        parts = {"": images_below(root / IMAGES, root)}
        keypoints = False
    else:
        document = _read_description(path)
        names = _names(document, path)
        root, parts = _parts(document, path)
        keypoints = "kpt_shape" in document
    known = [Category(number, name) for number, name in names.items()]
    chosen = choose_categories(known, classes, path)
    images = number_images(_once(choose_splits(parts, split, path), path), root)
    position = {category.id: index for index, category in enumerate(known)}
    boxes, label_files = BoxList(), [label_name(image.file_name) for image in images]
    of_images = {label_name(image) for part in parts.values() for image in part}
    there = {name for folder in _folders(of_images) for name in files_below(root / folder, root)}
    there |= {name for name in label_files if "/" not in name and (root / name).is_file()}
    labelled = [index for index, name in enumerate(label_files) if name in there]
    doubtful = 0
    for index in labelled:
        image = images[index]
        sides = (image.width, image.height)
        doubtful += _read_labels(root / label_files[index], index, sides, position, keypoints, boxes)
    if doubtful and doubtful == len(boxes.places):
        raise DataError(f"{path}: every line of its labels has 7 numbers, and the last is 0 or 1", _TRACKED)
    lost = _warn_of_orphans(root, there, of_images, path) if split is None else 0
    if images and not labelled:
        _log.warning("%s: no image has a label file; the first would be %s", path, root / label_files[0])
    columns = boxes.columns(known, chosen, lambda image, line: f"{label_files[image]}, line {line}", lost)
    return assemble(path, root, chosen, images, columns)


def label_name(image: str) -> str:
    """Where the labels of an image are: beside the last folder called `images`, else beside the image."""
    parts = list(PurePosixPath(image).with_suffix(".txt").parts)
    places = [index for index, part in enumerate(parts[:-1]) if part == IMAGES]
    if places:
        parts[places[-1]] = _LABELS
    return "/".join(parts)


def _read_description(path: Path) -> dict[str, Any]:
    try:
        document = read_yaml(read_text(path), str(path))
    except ConfigError as error:
        raise DataError(error.message, "a YOLO data set is described by `names`, `train`, `val` and `test`") from None
    if not isinstance(document, dict):
        raise DataError(f"{path} does not describe a YOLO data set", "it needs `names`, and `train`, `val` or `test`")
    return document


def _names(document: Mapping[str, Any], path: Path) -> dict[int, str]:
    names = document.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataError(f"{path}: names is {document.get('names')!r}", "it lists the classes: names: [person, dog]")
    for number, name in names.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise DataError(f"{path}: names has the class {number!r}", "classes are numbered 0, 1, 2, ...")
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            hint = "give every class a name; in YAML, words such as yes, no and off need quotes to be text"
            raise DataError(f"{path}: class {number} is called {name!r}", hint)
    refuse_duplicate_categories([(number, str(names[number])) for number in sorted(names)], path, "names")
    named = {number: str(names[number]).strip() for number in sorted(names)}
    if "nc" in document and document["nc"] != len(named):
        raise DataError(
            f"{path}: nc is {document['nc']!r}, but names has {len(named)} classes", "mend the one that is wrong"
        )
    return named


def _parts(document: Mapping[str, Any], path: Path) -> tuple[Path, dict[str, list[str]]]:
    """The folder that all images lie in, and the images of each split, relative to it."""
    root = path.parent
    if isinstance(document.get("path"), str):
        root = _root(document["path"], root, path)
    parts: dict[str, list[str]] = {}
    for split in SPLITS:
        value = document.get(split)
        entries = value if isinstance(value, list) else [] if value in (None, "") else [value]
        for entry in entries:
            if not isinstance(entry, str):
                raise DataError(f"{path}: {split} is {entry!r}", "it is a folder of images, a list of them, or a .txt")
            place = _place(entry, root)
            if place is None:
                _log.warning("%s: %s, of %s, is not there", path, entry, split)
            elif place.is_dir():
                parts.setdefault(split, []).extend(images_below(place, root))
            else:
                parts.setdefault(split, []).extend(_listed(place, root))
    if not any(parts.values()):
        tried = "; ".join(f"{split}: {document[split]}" for split in SPLITS if split in document)
        raise DataError(f"{path} leads to no image ({tried})", f"its paths are looked for in {root}")
    return root, parts


def _root(text: str, folder: Path, path: Path) -> Path:
    """The folder that `path` of a description names: of a data set that was moved, its own."""
    named = folder / text
    if not named.is_dir() or named.resolve().is_relative_to(folder.resolve()):
        return _place(text, folder) or folder
    if folder.resolve().is_relative_to(named.resolve()):
        return folder  # `path: ..` of one that is below
    raise DataError(
        f"{path}: its path {text} is outside of the folder it lies in",
        f"if that is meant, put {path.name} into that folder, and name it there",
    )


def _place(text: str, root: Path) -> Path | None:
    """Where a path leads within a folder, for however many of its first names are of another machine, or are `..`."""
    names = [name for name in PurePosixPath(text.replace("\\", "/")).parts if name != "."]
    for start in range(len(names) + 1):
        inner = names[start:]
        inside = not any(name in ("..", "/") or ":" in name for name in inner)
        if inside and (inner or start == 0) and (root / "/".join(inner)).exists():
            return root / "/".join(inner)
    return None


def _listed(file: Path, root: Path) -> list[str]:
    """The images that a text file lists, a line each."""
    if file.suffix.lower() != ".txt":
        raise DataError(f"{file} is no folder and no .txt", "a split is a folder of images, or a .txt that lists them")
    lines = [line.strip().replace("\\", "/") for line in read_text(file).splitlines()]
    paths = [[name for name in PurePosixPath(line).parts if name != "."] for line in lines if line]
    strange = next((path for path in paths if not (path and is_image(Path(path[-1])))), None)
    if strange is not None:
        raise DataError(f"{file} lists {'/'.join(strange)!r}, which is no image", "every line is the path of an image")
    # of a data set that was moved, all lines begin with as many names that are not there any more
    for path in paths:
        if (found := _place("/".join(path), root)) is not None:
            begin = len(path) - len(found.relative_to(root).parts)
            return ["/".join(path[begin:]) for path in paths]
    return ["/".join(name for name in path if name not in ("..", "/")) for path in paths]


def _once(parts: Mapping[str, Sequence[str]], path: Path) -> dict[str, str | None]:
    """Every image with its split; in two of them it is of the first."""
    splits: dict[str, str | None] = {}
    for split, images in parts.items():
        again = [image for image in dict.fromkeys(images) if image in splits]
        if again:
            text = "%s: %d images of %s are in a split before it, too, and are taken once; the first is %s"
            _log.warning(text, path, len(again), split, again[0])
        for image in images:
            splits.setdefault(image, split or None)
    return splits


def _folders(names: Iterable[str]) -> list[str]:
    """The first folders of paths."""
    return sorted({name.partition("/")[0] for name in names if "/" in name})


def _warn_of_orphans(root: Path, there: Iterable[str], of_images: set[str], path: Path) -> int:
    """Count the lines of label files that belong to no image."""
    within = {name.rpartition("/")[0] for name in of_images}
    orphans = sorted(
        name
        for name in set(there) - of_images
        if name.endswith(".txt") and name.rpartition("/")[0] in within and PurePosixPath(name).name != _CLASSES
    )
    lines = sum(1 for name in orphans for line in read_text(root / name).splitlines() if line.strip())
    if lines:
        text = "%s: %d label files with %d boxes belong to no image and are left out; the first is %s"
        _log.warning(text, path, len(orphans), lines, orphans[0])
    return lines


def _read_labels(
    file: Path, index: int, sides: tuple[int, int], position: Mapping[int, int], keypoints: bool, boxes: BoxList
) -> int:
    """Read a label file; how many of its lines are triangles, or boxes with a score and the first of tracks."""
    width, height = sides
    doubtful = 0
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            raise DataError(f"{file}, line {number}: {_short(line)} has what is no number", _LINE) from None
        category = position.get(int(values[0])) if values[0].is_integer() else None
        if category is None:
            raise DataError(
                f"{file}, line {number}: there is no class {words[0]}",
                f"the names of the data set are numbered {min(position)} to {max(position)}",
            )
        count, score = len(values), 1.0
        if count == 5 or (keypoints and count > 5):
            fractions = values[1:5]
        elif count == 6:
            fractions, score = values[1:5], values[5]
            if not 0 < score <= 1:
                raise DataError(f"{file}, line {number}: the score {words[5]} is not above 0 and at most 1", _LINE)
        elif count >= 7 and count % 2:
            fractions = values[1:]
        else:
            raise DataError(f"{file}, line {number}: {count} numbers", _LINE)
        whole = count == 7 and not keypoints and words[6].removeprefix("-").isdecimal()
        if not all(-_SLACK <= value <= 1 + _SLACK for value in fractions):
            raise DataError(
                f"{file}, line {number}: {_short(line)} has what is no fraction of the image",
                _TRACKED
                if whole and all(-_SLACK <= value <= 1 + _SLACK for value in fractions[:5])
                else "are they pixels? divide x and width by the image's width, y and height by its height",
            )
        doubtful += whole
        if len(fractions) == 4:
            x, y, w, h = fractions
            box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
        else:
            x, y = min(fractions[::2]), min(fractions[1::2])
            box = (x * width, y * height, (max(fractions[::2]) - x) * width, (max(fractions[1::2]) - y) * height)
        boxes.add(index, category, box, number, score=score)
    return doubtful


def _short(line: str) -> str:
    line = line.strip()
    return repr(line if len(line) <= 60 else line[:60] + "...")


def write_yolo(table: AnnotationTable, names: Sequence[str], folder: Path) -> None:
    """Write data.yaml and the label files of all images; crowds are left out.

    Args:
        table: What to write; its splits, if there are any, are train, val and test.
        names: Of the images in images/; where there are splits, they begin with those.
        folder: Gets data.yaml and labels/.
    """
    write_yolo_labels(table, range(len(names)), names, folder)
    splits = table.split_names
    places = {split: f"{IMAGES}/{split}" for split in SPLITS if split in splits} or {"train": IMAGES}
    document = {**places, "names": dict(enumerate(table.class_names))}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, "utf-8")


def refuse_shared_labels(names: Sequence[str]) -> None:
    """Raise DataError where two images would have the same label file."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_label_of(name), name)
        if other != name:
            raise DataError(f"{other} and {name} would share one YOLO label file", "rename one of them")


def write_yolo_labels(table: AnnotationTable, chosen: Sequence[int], names: Sequence[str], folder: Path) -> None:
    """Write the label files of the chosen images; crowds are left out.

    Args:
        table: What to write.
        chosen: The images, their places in it.
        names: Of these in images/.
        folder: That images/ is in; the files come to labels/, see `label_name`.
    """
    for index, name in zip(chosen, names, strict=True):
        image, rows = table.images[index], table.rows(index)
        boxes = table.boxes_xywh[rows] / np.array([image.width, image.height] * 2)
        lines = [
            yolo_line(class_id, (x + w / 2, y + h / 2, w, h))
            for (x, y, w, h), class_id, iscrowd in zip(boxes, table.class_ids[rows], table.iscrowd[rows], strict=True)
            if not iscrowd
        ]
        path = folder / _label_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), "utf-8")


def yolo_line(class_id: int, fractions: Iterable[float], decimals: int = 8, more: Iterable[str] = ()) -> str:
    """A line of a label file.

    Args:
        class_id: 1 is the first, which YOLO calls 0.
        fractions: x_center, y_center, width, height, as shares of the image's sides.
        decimals: Of these.
        more: Columns after them, such as a score.
    """
    return " ".join([str(class_id - 1), *(f"{number:.{decimals}f}" for number in fractions), *more]) + "\n"


def _label_of(name: str) -> str:
    """Where the labels of an image in images/ are written."""
    return label_name(f"{IMAGES}/{name}")
