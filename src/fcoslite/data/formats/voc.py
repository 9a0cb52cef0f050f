"""Pascal VOC: an XML file per image, with corners in pixels that count from 1 and belong to the box."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat
from xml.sax.saxutils import escape

from fcoslite.data.dataset import LONGEST_SIDE, AnnotationTable, Category, ImageRecord
from fcoslite.data.formats.box_forms import BoxForm, as_pixels
from fcoslite.data.formats.class_choice import chosen_names
from fcoslite.data.formats.files import choose_splits, files_below, read_text, sides_of, split_of
from fcoslite.data.formats.table import BoxList, assemble, choose_categories
from fcoslite.data.image_formats import is_image
from fcoslite.errors import DataError

_log = logging.getLogger("fcoslite")

IMAGES = "JPEGImages"
_ANNOTATIONS = "Annotations"
_SETS = "ImageSets/Main"
_NO_SPLITS = ("trainval", "default")  # two of the others; what CVAT calls no split
_OF_CLASS = re.compile(r".+_(train|val|trainval|test)")
_LONGEST = 1 << 26  # bytes of an XML file
_DEEPEST = 20
_LINE = "line"  # an attribute of our own


def find_voc(folder: Path) -> str | None:
    """What makes a folder a Pascal VOC data set; None if it is none."""
    for place in (folder / _ANNOTATIONS, folder, *sorted(path for path in folder.iterdir() if split_of(path.name))):
        if place.is_dir():
            found = next(place.glob("*.xml"), None) or (
                next(place.rglob("*.xml"), None) if place.name == _ANNOTATIONS else None
            )
            if found is not None:
                return found.relative_to(folder).as_posix()
    return None


def open_voc(
    folder: Path,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    images: Path | None = None,
    form: BoxForm = "xywh",
) -> AnnotationTable:
    """Read a data set; where the XML does not tell the sides of an image, the image's header does.

    `difficult` objects are to be ignored, as crowds are. Images without an XML file are left out: nobody said that
    nothing is on them.

    Args:
        folder: With Annotations/, JPEGImages/ and ImageSets/Main/; or with XML files beside the images, perhaps in
            folders train/, valid/ and test/.
        classes: Names whose boxes to read, class ids in this order; None: all, by name.
        split: The only one to read.
        images: Where the images are, if elsewhere.
        form: `fractions`, if corners are not pixels.

    Raises:
        DataError: A file is missing, not XML, or says what cannot be.
        ConfigError: No such class.
    """
    root = folder if images is None else images
    parts = _files_by_split(folder)
    # of one split, too: names and the first pixel are those of the whole
    labels = {name: _read(folder / name) for names in parts.values() for name in names}
    from_zero = any(min(box.corners[:2]) < 1 for one in labels.values() for box in one.boxes)
    class_names = sorted({box.name for one in labels.values() for box in one.boxes})
    class_names = class_names or chosen_names(classes or ["object"], ())
    if split is not None:
        parts = choose_splits({name: files for name, files in parts.items() if name}, split, folder)
    read = [(name, of_split or None, labels[name]) for of_split, names in parts.items() for name in names]
    find = _ImageFinder(root, beside=images is None)
    missing = sum(1 for _, _, one in read if one.sides is None)
    names = [find.image_of(name, one.image) for name, _, one in read]
    if missing:
        _log.warning("%s: %d files do not tell the sides of their image: its header does", folder, missing)
    unknown = [name for name, (_, _, one) in zip(names, read, strict=True) if one.sides is None]
    headers = dict(zip(unknown, sides_of(unknown, root), strict=True))
    records = [
        ImageRecord(number, name, *(one.sides or headers[name]), of_split)
        for number, (name, (_, of_split, one)) in enumerate(zip(names, read, strict=True), start=1)
    ]
    if split is None:
        find.warn_of_the_rest(names, folder)
    known = [Category(number, name) for number, name in enumerate(class_names, start=1)]
    chosen = choose_categories(known, classes, folder)
    position = {category.name: index for index, category in enumerate(known)}
    if from_zero:
        _log.info("%s: corners count from 0, as some are below 1: they are taken as they are", folder)
    first = 0 if from_zero else 1
    boxes = BoxList()
    for index, (_, _, one) in enumerate(read):
        for box in one.boxes:
            x_min, y_min, x_max, y_max = box.corners
            xywh = (x_min - first, y_min - first, x_max - x_min + first, y_max - y_min + first)
            boxes.add(index, position[box.name], xywh, box.line, box.difficult)
    columns = boxes.columns(known, chosen, lambda image, line: f"{read[image][0]}, line {line}")
    columns = as_pixels(columns, records, form, folder, perhaps_corners=False)
    return assemble(folder, root, chosen, records, columns)


@dataclass(frozen=True)
class _Box:
    name: str
    corners: tuple[float, float, float, float]  # x_min, y_min, x_max, y_max as they stand
    difficult: bool
    line: int


@dataclass(frozen=True)
class _Labels:
    """One XML file."""

    image: str  # as it names it; may be empty
    sides: tuple[int, int] | None
    boxes: tuple[_Box, ...]


def _files_by_split(folder: Path) -> dict[str, list[str]]:
    """The XML files, relative to the folder, by their splits; "" for those of none."""
    base = folder / _ANNOTATIONS
    if base.is_dir():
        files = {name[:-4]: f"{_ANNOTATIONS}/{name}" for name in files_below(base, base) if name.endswith(".xml")}
        of_split = _image_sets(folder, files)
        parts: dict[str, list[str]] = {}
        for key, name in files.items():
            parts.setdefault(of_split.get(key, ""), []).append(name)
    else:
        parts = {"": sorted(path.name for path in folder.glob("*.xml"))}
        for place in sorted(folder.iterdir()):
            of_place = split_of(place.name)
            if of_place is not None and place.is_dir():
                xml = [file for file in files_below(place, folder) if file.endswith(".xml")]
                parts.setdefault(of_place, []).extend(xml)
    parts = {name: files for name, files in parts.items() if files}
    if not parts:
        raise DataError(f"{folder} has no XML file", "a Pascal VOC data set has one for every image, in Annotations/")
    return parts


def _image_sets(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """The split of each image, by its name without suffix."""
    of_split: dict[str, str] = {}
    absent = []
    for place in sorted((folder / _SETS).glob("*.txt")):
        if place.stem in _NO_SPLITS or _OF_CLASS.fullmatch(place.stem):
            continue
        for line in read_text(place).splitlines():
            if not (key := line.strip()):
                continue
            if key not in files:
                key = key.split()[0]  # ids may be followed by 1 or -1
            if key not in files:
                absent.append(key)
            elif of_split.setdefault(key, place.stem) != place.stem:
                raise DataError(f"{place} lists {key}, and so does {of_split[key]}.txt", "an image is of one split")
    if absent:
        text = "%s: %d images of the sets have no XML file and are left out; the first is %s"
        _log.warning(text, folder / _SETS, len(absent), absent[0])
    return of_split


class _ImageFinder:
    """Finds the images of XML files: by the name of the XML, else by the name in it."""

    def __init__(self, root: Path, beside: bool) -> None:
        self._beside = beside
        self._all = [name for name in files_below(root, root) if is_image(Path(name))]
        self._known = frozenset(self._all)
        self._by_stem: dict[str, list[str]] = {}
        for name in self._all:
            self._by_stem.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(name)

    def image_of(self, xml: str, named: str) -> str:
        """The image of an XML file."""
        stem = PurePosixPath(xml).with_suffix("")
        within = stem.relative_to(_ANNOTATIONS) if stem.parts[0] == _ANNOTATIONS else stem
        folders = (IMAGES, "images", "") if self._beside else ("",)
        named = PurePosixPath(named).name or f"{within.name}.jpg"
        for folder in folders:
            found = self._by_stem.get(str(folder / within), [])
            if found:
                exact = str(PurePosixPath(folder) / within.parent / named)
                return exact if exact in found else found[0]
        for folder in folders:
            path = str(PurePosixPath(folder) / within.parent / named)
            if path in self._known:
                return path
        base = IMAGES if self._beside and stem.parts[0] == _ANNOTATIONS else ""
        return str(base / within.parent / named)

    def warn_of_the_rest(self, taken: Sequence[str], folder: Path) -> None:
        """Say how many images have no XML file, in the folders of those that have."""
        folders = {str(PurePosixPath(name).parent) for name in taken}
        rest = [name for name in self._all if str(PurePosixPath(name).parent) in folders]
        left = sorted(set(rest) - set(taken))
        if left:
            text = "%s: %d images have no XML file and are left out; the first is %s"
            _log.warning(text, folder, len(left), left[0])


def _read(file: Path) -> _Labels:
    root = _parse(file)
    if root.tag != "annotation":
        raise DataError(f"{file} is not of Pascal VOC: it holds <{root.tag[:40]}>", "it should hold <annotation>")
    image = (root.findtext("filename") or "").strip().replace("\\", "/")
    size = root.find("size")
    sides = None
    if size is not None:
        height, width = (_side(file, size, tag) for tag in ("height", "width"))
        sides = (height, width) if height and width else None
    return _Labels(image, sides, tuple(_box(file, one) for one in root.findall("object")))


def _side(file: Path, size: Element, tag: str) -> int:
    text = size.findtext(tag)
    value = 0.0 if text is None or not text.strip() else _number(file, size, tag, text)
    if not value.is_integer() or not 0 <= value <= LONGEST_SIDE:
        raise DataError(f"{file}, line {size.get(_LINE)}: the {tag} is {text!r}", "sides are whole pixels")
    return int(value)


def _box(file: Path, one: Element) -> _Box:
    place = f"{file}, line {one.get(_LINE)}"
    name = (one.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{place}: an object has no name", "give it the name of its class: <name>person</name>")
    corners = one.find("bndbox")
    points = one.find("polygon")
    if corners is not None:
        x_min, y_min, x_max, y_max = (
            _number(file, one, tag, corners.findtext(tag)) for tag in ("xmin", "ymin", "xmax", "ymax")
        )
    elif points is not None:
        x, y = ([_number(file, one, p.tag, p.text) for p in points if p.tag.startswith(axis)] for axis in "xy")
        if len(x) < 3 or len(x) != len(y):
            raise DataError(f"{place}: a polygon of {len(x)} x and {len(y)} y", "it needs three points, as x1, y1, ...")
        x_min, y_min, x_max, y_max = min(x), min(y), max(x), max(y)
    else:
        raise DataError(f"{place}: an object has no bndbox", "turned boxes (robndbox) are not read: export upright")
    if x_max < x_min - 1 or y_max < y_min - 1:  # one within a pixel ends up to 1 before
        raise DataError(f"{place}: the box ends before it begins", "xmin, ymin is its upper left corner")
    difficult = (one.findtext("difficult") or "0").strip().lower() not in ("", "0", "false", "unspecified")
    return _Box(name, (x_min, y_min, x_max, y_max), difficult, int(one.get(_LINE, "0")))


def _number(file: Path, parent: Element, tag: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e9:
        raise DataError(f"{file}, line {parent.get(_LINE)}: {tag} is {text!r}", "it should be a number of pixels")
    return value


def _parse(file: Path) -> Element:
    """The tree of an XML file, every element with its line. Without a DOCTYPE nothing can grow, or read other files."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise DataError(f"{file} is nested too deeply, at line {parser.CurrentLineNumber}", "is it of Pascal VOC?")
        builder.start(tag, {_LINE: str(parser.CurrentLineNumber)})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*declared: object) -> None:
        raise DataError(f"{file} declares a document type, which may hide anything", "take the <!DOCTYPE ...> out")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        content = file.read_bytes() if file.stat().st_size <= _LONGEST else b""
        if not content:
            raise DataError(f"{file} is empty, or has more than {_LONGEST:,} bytes", "write it again")
        parser.Parse(content, True)
        return builder.close()
    except expat.ExpatError as error:
        hint = "write it again: it may be cut short"
        raise DataError(f"{file}, line {error.lineno} is not XML: {expat.ErrorString(error.code)}", hint) from None
    except (LookupError, ValueError) as error:  # of an encoding
        raise DataError(f"{file} cannot be decoded: {error}", "write it again as UTF-8") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}", "mend its permissions") from None


def write_voc(table: AnnotationTable, names: Sequence[str], folder: Path) -> None:
    """Write the files of all images.

    Args:
        table: What to write.
        names: Of the images in JPEGImages/.
        folder: Gets Annotations/ and, where there are splits, ImageSets/Main/.
    """
    sets: dict[str, list[str]] = {}
    for index, name in enumerate(names):
        image, rows = table.images[index], table.rows(index)
        key = str(PurePosixPath(name).with_suffix(""))
        objects = [
            _OBJECT.format(
                name=escape(table.class_names[class_id - 1]),
                difficult=int(iscrowd),
                xmin=_decimal(x + 1),
                ymin=_decimal(y + 1),
                xmax=_decimal(x + w),
                ymax=_decimal(y + h),
            )
            for (x, y, w, h), class_id, iscrowd in zip(
                table.boxes_xywh[rows].tolist(), table.class_ids[rows], table.iscrowd[rows], strict=True
            )
        ]
        path = folder / _ANNOTATIONS / f"{key}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        short = escape(PurePosixPath(name).name)
        text = _ANNOTATION.format(name=short, width=image.width, height=image.height, objects="".join(objects))
        path.write_text(text, "utf-8")
        if image.split is not None:
            sets.setdefault(image.split, []).append(f"{key}\n")
    for split, lines in sets.items():
        path = folder / _SETS / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), "utf-8")


def _decimal(value: float) -> str:
    """Whole numbers as such, which some readers need; others to a thousandth of a thousandth of a pixel."""
    return str(int(value)) if value.is_integer() else f"{value:.6f}"


_ANNOTATION = """<annotation>
  <folder>JPEGImages</folder>
  <filename>{name}</filename>
  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>
  <segmented>0</segmented>
{objects}</annotation>
"""
_OBJECT = """  <object>
    <name>{name}</name>
    <pose>Unspecified</pose>
    <truncated>0</truncated>
    <difficult>{difficult}</difficult>
    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>
  </object>
"""
