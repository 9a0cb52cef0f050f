"""Apple's CreateML: a JSON list of images, whose boxes are centre, width and height in pixels."""

import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fcoslite.data.dataset import AnnotationTable, Category
from fcoslite.data.formats.box_forms import BoxForm, as_pixels
from fcoslite.data.formats.class_choice import chosen_names
from fcoslite.data.formats.files import by_split, choose_splits, number_images, split_of
from fcoslite.data.formats.json_file import decode_json
from fcoslite.data.formats.table import BoxList, assemble, check_file_name, choose_categories
from fcoslite.errors import DataError

NAME = "_annotations.createml.json"
_HINT = (
    'it is a list of {"image": NAME, "annotations": [{"label": CLASS, "coordinates": {"x", "y", "width", "height"}}]}, '
    "where x, y is the centre, in pixels"
)


class _Coordinates(msgspec.Struct):
    x: float
    y: float
    width: float
    height: float


class _Annotation(msgspec.Struct):
    label: str
    coordinates: _Coordinates

    @property
    def name(self) -> str:
        """Of the class: a label with a space more is no other one."""
        return self.label.strip()


class _Image(msgspec.Struct):
    image: str | None = None
    imagefilename: str | None = None  # as older tools write it
    annotations: list[_Annotation] | None = None
    annotation: list[_Annotation] | None = None

    @property
    def boxes(self) -> list[_Annotation]:
        """Under whichever name."""
        return [*(self.annotations or ()), *(self.annotation or ())]


def find_createml(folder: Path) -> str | None:
    """The file that makes a folder a CreateML data set; None if it is none."""
    files = _files(folder)
    return next(iter(files.values())).relative_to(folder).as_posix() if files else None


def open_createml(
    path: Path,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    images: Path | None = None,
    form: BoxForm = "xywh",
) -> AnnotationTable:
    """Read a data set; of the images only the headers, which tell their sides.

    Args:
        path: The JSON file, or the folder that has one, perhaps in each of train/, valid/ and test/.
        classes: Names whose boxes to read, class ids in this order; None: all, by name.
        split: The only one to read.
        images: Where the images of a file are, if not beside it.
        form: `fractions`, if numbers are not pixels.

    Raises:
        DataError: A file is missing, not JSON, of another format, or names an image twice.
        ConfigError: No such class.
    """
    files = _files(path) if path.is_dir() else {"": path}
    if not files:
        raise DataError(f"{path} has no CreateML file", f"it is called {NAME}, beside the images")
    root = path if path.is_dir() else path.parent
    if images is not None:
        root = images
    items = {name: decode_json(file, list[_Image], "a CreateML file", _HINT) for name, file in files.items()}
    # of one split, too: names are those of the whole
    labels = sorted({one.name for part in items.values() for item in part for one in item.boxes})
    items = choose_splits({name: part for name, part in items.items() if name or split is None}, split, path)
    names: dict[str, str | None] = {}
    listed: list[tuple[Path, int, Sequence[_Annotation]]] = []  # by image: its file, its place there, its boxes
    for of_split, part in items.items():
        file = files[of_split]
        within = "" if images is not None or file.parent == root else f"{file.parent.relative_to(root).as_posix()}/"
        for index, item in enumerate(part):
            name = (item.image or item.imagefilename or "").replace("\\", "/")
            check_file_name(name, file)
            if within + name in names:
                raise DataError(f"{file} lists {name} twice", "put all boxes of an image into one entry")
            names[within + name] = of_split or None
            listed.append((file, index, item.boxes))
    if not names:
        raise DataError(f"{path} lists no images", _HINT)
    nameless = chosen_names(classes or ["object"], ())
    known = [Category(number, name) for number, name in enumerate(labels or nameless, start=1)]
    chosen = choose_categories(known, classes, path)
    position = {category.name: index for index, category in enumerate(known)}
    boxes = BoxList()
    for image, (_, _, annotations) in enumerate(listed):
        for number, one in enumerate(annotations):
            at = one.coordinates
            xywh = (at.x - at.width / 2, at.y - at.height / 2, at.width, at.height)
            boxes.add(image, position[one.name], xywh, number)

    def place(image: int, number: int) -> str:
        file, index, _ = listed[image]
        return f"$[{index}].annotations[{number}] of {file}"

    records = number_images(names, root)
    columns = as_pixels(boxes.columns(known, chosen, place), records, form, path, perhaps_corners=False)
    return assemble(path, root, chosen, records, columns)


def write_createml(table: AnnotationTable, names: Sequence[str], folder: Path) -> None:
    """Write one file for all images, or one for each split, beside the images; crowds are left out.

    Args:
        table: What to write.
        names: Of the images in the folder; where there are splits, they begin with those.
        folder: Gets the files.
    """
    files: dict[str, list[object]] = {}
    for index, name in enumerate(names):
        image, rows = table.images[index], table.rows(index)
        split = image.split or ""
        annotations = [
            {
                "label": table.class_names[class_id - 1],
                "coordinates": {"x": x + w / 2, "y": y + h / 2, "width": w, "height": h},
            }
            for (x, y, w, h), class_id, iscrowd in zip(
                table.boxes_xywh[rows].tolist(), table.class_ids[rows].tolist(), table.iscrowd[rows], strict=True
            )
            if not iscrowd
        ]
        short = name.removeprefix(f"{split}/")
        files.setdefault(split, []).append({"image": short, "annotations": annotations})
    for split, items in files.items():
        path = folder / split / NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(items))


def _files(folder: Path) -> dict[str, Path]:
    """The files of a folder by their splits; "" where there are none."""
    parts = [path for path in sorted(folder.iterdir()) if path.is_dir() and split_of(path.name)]
    found = []
    for word, place in [("", folder), *((part.name, part) for part in parts)]:
        lists = [file for file in sorted(place.glob("*.json")) if file.name == NAME or _is_list(file)]
        if len(lists) > 1:
            raise DataError(f"{place} has {len(lists)} CreateML files", f"name one, such as {lists[0]}")
        if lists:
            found.append((word, lists[0]))
    return by_split(found)


def _is_list(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            head = opened.read(4096).removeprefix(BOM_UTF8).lstrip()
    except OSError:
        return False
    return head.startswith(b"[") and re.search(rb'"image(filename)?"', head) is not None
