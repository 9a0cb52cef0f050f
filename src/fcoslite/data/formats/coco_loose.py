"""What is odd in the COCO files of some tools, taken where it can mean one thing only, and said with a count.

Numbers as text, null where a number is a matter of course, polygons without a box. Such a file is read a second time,
in types that let all of it in; files as COCO has them never come here.
"""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from fcoslite.data.dataset import LONGEST_SIDE, Category, ImageRecord
from fcoslite.data.formats.json_file import decode_json
from fcoslite.errors import DataError

_log = logging.getLogger("fcoslite")

Number = int | float | str | None


class LooseAnnotation(Struct, gc=False):
    """An annotation as some tools write it."""

    image_id: Number
    category_id: Number
    id: Number = None
    bbox: Raw = Raw(b"")
    segmentation: Raw = Raw(b"")
    iscrowd: int | float | bool | str | None = None
    area: Number = None
    score: Number = None
    ask: int | float | bool | str | None = None


class _Category(Struct):
    id: Number
    name: str
    supercategory: str | None = None


class _Document(Struct):
    images: list[Raw]
    annotations: list[LooseAnnotation]
    categories: list[_Category]
    info: Raw = Raw(b"{}")
    licenses: Raw = Raw(b"[]")


class Oddities:
    """Counts what was taken although it is odd, and refuses what could mean two things.

    Args:
        path: The file, for messages.
        hint: What such a file needs.
    """

    def __init__(self, path: Path, hint: str) -> None:
        self._path = path
        self._hint = hint
        self._counts: Counter[str] = Counter()
        self.without_box = 0

    def count(self, what: str) -> None:
        """Count one thing that was taken."""
        self._counts[what] += 1

    def warn(self) -> None:
        """Say what was taken, and how often."""
        for what, count in self._counts.items():
            _log.warning("%s: %d %s", self._path, count, what)

    def refuse(self, problem: str, place: str, hint: str = "") -> DataError:
        """An error that names a place in the tree."""
        return DataError(f"{self._path} is not a COCO instances file: {problem} - at `{place}`", hint or self._hint)

    def document(self) -> tuple[_Document, list[Category]]:
        """The file in loose types, and its categories."""
        document = decode_json(self._path, _Document, "a COCO instances file", self._hint)
        categories = [
            Category(self.whole(one.id, f"$.categories[{index}].id"), one.name, one.supercategory)
            for index, one in enumerate(document.categories)
        ]
        return document, categories

    def category(self, category: Category) -> Category:
        """A category; spaces around its name are counted, and taken away."""
        name, above = category.name.strip(), category.supercategory
        if name != category.name:
            self.count("category names have spaces around them, and are taken without")
        return Category(category.id, name, above.strip() if above else above)

    def image(self, raw: Raw, place: str, sides_may_lack: bool) -> tuple[ImageRecord, Raw]:
        """An image record that is odd, and the same put right; sides of 0 are to be found out."""
        record = _tree(raw)
        if not isinstance(record, dict) or not isinstance(record.get("file_name"), str):
            raise self.refuse("an image needs id, file_name, and height and width in pixels", place)
        image_id = self.whole(record.get("id"), f"{place}.id")
        sides = []
        for key in ("height", "width"):
            value = record.get(key)
            lacks = value is None or value == 0
            if lacks and not sides_may_lack:
                raise self.refuse(f"the {key} is {value!r}", f"{place}.{key}", "an image needs height and width")
            sides.append(0 if lacks else self.whole(value, f"{place}.{key}"))
            if not 0 <= sides[-1] <= LONGEST_SIDE:
                raise self.refuse(f"the {key} is {value!r}", f"{place}.{key}")
        split = record.get("split")
        height, width = sides
        made = ImageRecord(
            image_id,
            record["file_name"],
            height,
            width,
            split if isinstance(split, str) else None,
            record.get("date_captured"),
            record.get("camera"),
        )
        return made, Raw(msgspec.json.encode(record | msgspec.to_builtins(made)))

    def whole(self, value: Any, place: str) -> int:
        """An id or a side in pixels; one that is text is counted."""
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 19:
            self.count("numbers are written as text, and are taken as numbers")
            return int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            kind = "text" if isinstance(value, str) else "a number" if isinstance(value, int | float) else "nothing"
            raise self.refuse(
                f"Expected a whole number, got {kind}: {value!r}"[:200], place, "number images, annotations, categories"
            )
        return value

    def real(self, value: Any, place: str) -> float:
        """A number; one that is text is counted."""
        if isinstance(value, str):
            try:
                number = float(value)
            except ValueError:
                number = float("nan")
            if not abs(number) < float("inf"):
                raise self.refuse(f"Expected a number, got {value!r}"[:200], place)
            self.count("numbers are written as text, and are taken as numbers")
            return number
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(f"Expected a number, got {value!r}"[:200], place)
        try:
            return float(value)
        except OverflowError:
            raise self.refuse("a number is beyond all bounds", place) from None

    def crowd(self, value: Any, place: str) -> bool:
        """Whether `iscrowd` says so; null does not."""
        if value is None:
            self.count("annotations have no `iscrowd`: no crowds")
            return False
        if isinstance(value, str):
            return bool(self.whole(value, place))
        return bool(value)

    def box(self, one: LooseAnnotation, place: str) -> tuple[float, float, float, float] | None:
        """The box of an annotation; that around its polygons, where there is none; None, counted, without either."""
        box = _tree(one.bbox)
        if isinstance(box, list) and len(box) == 4:
            x, y, w, h = (self.real(value, f"{place}.bbox[{index}]") for index, value in enumerate(box))
            return x, y, w, h
        if box:
            raise self.refuse(f"a box is {box!r}"[:200], f"{place}.bbox")
        outline = _tree(one.segmentation)
        if isinstance(outline, dict):
            raise self.refuse("a mask (RLE) without bbox", f"{place}.bbox", "export the boxes, too, or polygons")
        polygons = [polygon for polygon in outline if polygon] if isinstance(outline, list) else []
        if not all(isinstance(polygon, list) and len(polygon) % 2 == 0 for polygon in polygons):
            raise self.refuse("a polygon is no list of x, y, x, y, ...", f"{place}.segmentation")
        if not polygons:
            if bytes(one.bbox) == b"":
                raise self.refuse("Object missing required field `bbox`", place)
            self.without_box += 1
            self.count("annotations have neither box nor polygon and are left out")
            return None
        xs, ys = (
            [self.real(value, f"{place}.segmentation") for polygon in polygons for value in polygon[first::2]]
            for first in (0, 1)
        )
        self.count("annotations have no box: that around their polygons is taken")
        return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _tree(raw: Raw) -> Any:
    content = bytes(raw)
    try:
        return msgspec.json.decode(content) if content else None
    except (msgspec.DecodeError, RecursionError):
        return content.decode("utf-8", "replace")[:80]
