"""Data sets of all formats: recognised by what is there, and read as an `AnnotationTable`."""

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from fcoslite.data.dataset import AnnotationTable, Dataset
from fcoslite.data.embedded import embedded_names
from fcoslite.data.formats.box_forms import BoxForm
from fcoslite.data.formats.coco import check_images_folder, table_digest
from fcoslite.data.formats.coco_folder import find_coco, open_coco_folder
from fcoslite.data.formats.createml import find_createml, open_createml
from fcoslite.data.formats.photographs import find_photographs, open_photographs
from fcoslite.data.formats.table import to_dataset
from fcoslite.data.formats.voc import find_voc, open_voc
from fcoslite.data.formats.yolo import find_yolo, open_yolo
from fcoslite.data.image_formats import is_image
from fcoslite.data.rehearsal import with_rehearsal
from fcoslite.errors import ConfigError, DataError
from fcoslite.storage.files import file_digest
from fcoslite.storage.places import is_file, is_folder, place
from fcoslite.storage.space import refuse_address
from fcoslite.storage.staged_folder import CONVERT_KIND, EXTRACT_KIND, MANIFEST

Format = Literal["coco", "yolo", "voc", "createml", "folder"]

_FIND: dict[Format, Callable[[Path], str | None]] = {
    "coco": find_coco,
    "yolo": find_yolo,
    "voc": find_voc,
    "createml": find_createml,
}


def open_data(
    path: Path,
    images: Path | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    form: Format | None = None,
    boxes: BoxForm = "xywh",
) -> AnnotationTable:
    """Read a data set.

    Args:
        path: A folder; or a file: of COCO, of CreateML, or the data.yaml of YOLO.
        images: The folder that file names of COCO, CreateML or VOC are relative to; None: where the format has them.
        classes: Names whose boxes to read, class ids in this order; None: all.
        split: The only part to read, such as val; None: all.
        form: The format; None: recognised.
        boxes: What the numbers of a box of COCO are, if not x, y, width, height in pixels; fractions for VOC and
            CreateML, too.

    Raises:
        DataError: There is no data set, it could be of two formats, or it cannot be used.
        ConfigError: No such class or format, or images are elsewhere in a format that says where they are.
    """
    if form is not None and form not in get_args(Format):
        raise ConfigError(f"format is '{form}'", "it is one of " + ", ".join(get_args(Format)))
    if boxes not in get_args(BoxForm):
        raise ConfigError(f"boxes is '{boxes}'", "it is one of " + ", ".join(get_args(BoxForm)))
    if not (is_folder(path) or is_file(path)):
        refuse_address(path, "copy it to a disk; only records are built from an address")
        raise DataError(f"no data set at {path}", "name a folder, or an annotation file")
    if images is not None:
        check_images_folder(images)
    form = form or (_recognise(path) if path.is_dir() else _of_file(path))
    if form in ("yolo", "folder") and images is not None:
        raise ConfigError(f"--images is not for a data set of format {form}", "leave it out: the format says where")
    if form == "coco":
        return open_coco_folder(path, classes, split, images, boxes)
    if boxes != "xywh" and not (boxes == "fractions" and form in ("voc", "createml")):
        raise ConfigError(f"--boxes {boxes} is not for a data set of format {form}", "leave it out: the format says it")
    if form == "createml":
        return open_createml(path, classes, split, images, boxes)
    if form == "yolo":
        return open_yolo(path / _needed(find_yolo(path), path) if path.is_dir() else path, classes, split)
    folder = path if path.is_dir() else path.parent
    if form == "voc":
        return open_voc(folder, classes, split, images, boxes)
    if split is not None:
        raise DataError(f"{path} has no split '{split}'", "it is a folder of photographs: leave --split out")
    return open_photographs(folder, classes)


def source_digest(table: AnnotationTable) -> str:
    """SHA-256 of a data set: of a JSON file itself, else of what was read, for then it stands in many files."""
    is_whole = table.path.suffix.lower() == ".json" and table.path.is_file()
    return file_digest(table.path) if is_whole else table_digest(table)


def data_of_run(
    facts: Mapping[str, Any],
    classes: Sequence[str] | None,
    moved: Path | None = None,
    moved_rehearsal: Path | None = None,
) -> Dataset:
    """The data set that a run was trained on without records, by what its run.json says.

    Args:
        facts: Of run.json; `data` is the folder, and `rehearse` that of what is learned from beside it, if anything is.
        classes: Names whose boxes to read.
        moved: Where it is now, if it was moved.
        moved_rehearsal: Where the other one is.

    Raises:
        DataError: It cannot be read.
        ConfigError: What is rehearsed has not the same classes, or is the same images.
    """
    form, boxes = facts.get("format"), facts.get("boxes", "xywh")
    dataset = to_dataset(open_data(moved or place(facts["data"]), None, classes, form=form, boxes=boxes))
    if "rehearse" not in facts:
        return dataset
    other = open_data(moved_rehearsal or place(facts["rehearse"]), None, dataset.class_names)
    return with_rehearsal(dataset, to_dataset(other), apart=embedded_names())


def _recognise(folder: Path) -> Format:
    if (ours := _as_written(folder / MANIFEST)) is not None:
        return ours  # whatever was put beside it
    found = {form: name for form, find in _FIND.items() if (name := find(folder)) is not None}
    if len(found) > 1:
        what = " and ".join(f"{name} ({form})" for form, name in found.items())
        choices = " or ".join(f"--format {form}" for form in found)
        raise DataError(f"{folder} could be of {len(found)} formats: it has {what}", f"say which: {choices}")
    if found:
        return next(iter(found))
    if find_photographs(folder) is not None:
        return "folder"
    if any(folder.glob("*.tfrecord")):
        raise DataError(f"{folder} holds records, not a data set", "name the data set that they were built from")
    raise DataError(
        f"no data set at {folder}: it has no annotations.json, data.yaml, Annotations/*.xml, and no image",
        "name the folder that has one of them, or an annotation file",
    )


def _as_written(manifest: Path) -> Format | None:
    """The format of what `extract` or `convert` has written."""
    try:
        document = json.loads(manifest.read_text("utf-8"))
        if document["kind"] == EXTRACT_KIND:
            return "coco"
        written = document["format"] if document["kind"] == CONVERT_KIND else None
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return next((form for form in _FIND if form == written), None)


def _of_file(file: Path) -> Format:
    suffix = file.suffix.lower()
    if suffix in (".yaml", ".yml", ".txt"):
        return "yolo"
    if suffix == ".xml":
        raise DataError(f"{file} is the annotation of one image", "name the folder of the data set")
    if is_image(file):
        raise DataError(f"{file} is an image, not a data set", "name the folder of the data set")
    try:
        with file.open("rb") as opened:
            return "createml" if opened.read(64).removeprefix(BOM_UTF8).lstrip()[:1] == b"[" else "coco"
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}", "mend its permissions") from None


def _needed(name: str | None, folder: Path) -> str:
    if name is None:
        raise DataError(
            f"{folder} has no data.yaml", "a YOLO data set is described by one, with names, and train, val or test"
        )
    return name
