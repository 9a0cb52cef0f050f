"""Boxes that may be mistakes: slivers, covers, and the same box twice."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fcoslite.data.dataset import AnnotationTable

_TINY = 4.0  # pixels
_HUGE = 0.95  # of the image's area
_LONG = 10.0  # times the shorter side
_SHOWN = 8
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 by the golden ratio: multiplied by it, numbers spread


@dataclass(frozen=True)
class OddBoxes:
    """Boxes that are odd in one way.

    Attributes:
        name: Of the way, a word.
        meaning: In words.
        count: Such boxes.
        rows: Of the table, some of them, the oddest first.
    """

    name: str
    meaning: str
    count: int
    rows: tuple[int, ...]

    def document(self, table: AnnotationTable) -> dict[str, Any]:
        """Count and examples in plain words."""
        return {
            "name": self.name,
            "meaning": self.meaning,
            "count": self.count,
            "examples": [_example(table, row) for row in self.rows],
        }


def image_of(table: AnnotationTable, row: int) -> int:
    """Position of the image that a row of the table is of."""
    return int(np.searchsorted(table.starts, row, side="right")) - 1


def find_odd_boxes(table: AnnotationTable) -> tuple[OddBoxes, ...]:
    """Boxes that are no crowds and look like mistakes, by kind; those that none is of are left out."""
    per_image = np.diff(table.starts)
    shorter, longer = (
        choose(table.boxes_xywh[:, 2], table.boxes_xywh[:, 3]).astype(np.float32) for choose in (np.minimum, np.maximum)
    )
    areas = np.array([image.width * image.height for image in table.images], np.float32)
    share = shorter * longer / np.repeat(areas, per_image)
    again = _repeated(table)
    kinds = [
        ("tiny", f"a side of less than {_TINY:g} pixels", shorter < _TINY, shorter),
        ("long", f"one side more than {_LONG:g} times the other", longer > _LONG * shorter, shorter / longer),
        ("huge", f"more than {_HUGE:.0%} of the image", share > _HUGE, -share),
        ("repeated", "the same class and corners as another box of the image", again, -share),
    ]
    found = (_odd(name, meaning, odd & ~table.iscrowd, order) for name, meaning, odd, order in kinds)
    return tuple(odd for odd in found if odd.count)


def _odd(name: str, meaning: str, odd: np.ndarray, order: np.ndarray) -> OddBoxes:
    rows = np.flatnonzero(odd)
    shown = rows[np.argsort(order[rows], kind="stable")[:_SHOWN]]
    return OddBoxes(name, meaning, len(rows), tuple(shown.tolist()))


def _repeated(table: AnnotationTable) -> np.ndarray:
    """Which boxes, [A] bool, repeat one that stands before them: image, class and the file's very numbers."""
    mixed = np.repeat(np.arange(len(table.images), dtype=np.uint64), np.diff(table.starts))
    for column in (table.class_ids.astype(np.float64), *table.boxes_xywh.T):
        bits = np.ascontiguousarray(column).view(np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(29)) ^ bits) * _MIX
    order = np.argsort(mixed, kind="stable")
    mixed = mixed[order]
    alike = np.flatnonzero(mixed[1:] == mixed[:-1])
    first, second = order[alike], order[alike + 1]
    images = np.searchsorted(table.starts, np.stack([first, second]), side="right")
    # two that differ may share a number
    same = (table.boxes_xywh[first] == table.boxes_xywh[second]).all(axis=1) & (images[0] == images[1])
    same &= table.class_ids[first] == table.class_ids[second]
    again = np.zeros(len(order), bool)
    again[second[same]] = True
    return again


def _example(table: AnnotationTable, row: int) -> dict[str, Any]:
    return {
        "file_name": table.images[image_of(table, row)].file_name,
        "annotation_id": int(table.annotation_ids[row]),
        "class": table.class_names[table.class_ids[row] - 1],
        "bbox": table.boxes_xywh[row].tolist(),
    }
