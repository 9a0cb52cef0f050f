"""Figures of a data set, computed column by column: some bytes per box beside the table, however many there are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcoslite.data.box_sizes import SIZES, sizes_of
from fcoslite.data.dataset import AnnotationTable

QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}

_MANY_BOXES = 20  # on an image; the last bin has more
_ASPECT_OCTAVES = 3  # an aspect of more than 8 is in the last bin
_COMMON_SIZES = 5  # of images that are named


@dataclass(frozen=True)
class Spread:
    """How values are spread.

    Attributes:
        quantiles: By name, as `QUANTILES`.
        edges: [B + 1] borders of the bins; what lies beyond is counted in the first and last.
        counts: [B] values in each bin.
    """

    quantiles: dict[str, float]
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ClassFigures:
    """Of a class: its boxes that are no crowds, in all and by COCO's sizes, its crowds, and images that show it."""

    name: str
    boxes: int
    small: int
    medium: int
    large: int
    crowds: int
    images: int


@dataclass(frozen=True)
class SplitFigures:
    """Of a split, None for images that are of none: images, boxes, crowds among them, and images without a box."""

    name: str | None
    images: int
    boxes: int
    crowds: int
    images_without_box: int


@dataclass(frozen=True)
class Figures:
    """Of a whole data set. All that is said of sizes, aspects and scores is of boxes that are no crowds.

    Attributes:
        images: In all.
        boxes: In all, crowds among them.
        crowds: Boxes around groups.
        scored: Boxes with a score below 1: a detector drew them.
        images_without_box: Without a crowd, too.
        classes: By class id.
        splits: One of None where there are none.
        spreads: By name; those that there is nothing for are left out.
            `box_side`: square root of width times height, pixels; `relative_side`: the same, as a share of the
            image's; `box_aspect`: width by height; `boxes_per_image`; `score`: of the scored ones;
            `image_side`: the longer one, pixels; `image_aspect`.
        common_sizes: (width, height, images), most frequent first.
        different_sizes: Of images.
    """

    images: int
    boxes: int
    crowds: int
    scored: int
    images_without_box: int
    classes: tuple[ClassFigures, ...]
    splits: tuple[SplitFigures, ...]
    spreads: dict[str, Spread]
    common_sizes: tuple[tuple[int, int, int], ...]
    different_sizes: int

    @property
    def by_size(self) -> dict[str, int]:
        """Boxes that are no crowds by COCO's sizes."""
        return {size: sum(getattr(one, size) for one in self.classes) for size in SIZES}


def compute_figures(table: AnnotationTable) -> Figures:
    """Count and measure the boxes and images of a data set."""
    per_image = np.diff(table.starts)
    sizes = Counter((image.width, image.height) for image in table.images)
    common = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_COMMON_SIZES]
    return Figures(
        images=len(table.images),
        boxes=len(table.class_ids),
        crowds=int(np.count_nonzero(table.iscrowd)),
        scored=int(np.count_nonzero(table.scores < 1)),
        images_without_box=int(np.count_nonzero(per_image == 0)),
        classes=_of_classes(table),
        splits=_of_splits(table, per_image),
        spreads=_spreads(table, per_image),
        common_sizes=tuple((width, height, count) for (width, height), count in common),
        different_sizes=len(sizes),
    )


def _of_classes(table: AnnotationTable) -> tuple[ClassFigures, ...]:
    count = len(table.categories)
    kinds = sizes_of(table.areas).astype(np.int32)
    kinds[table.iscrowd] = len(SIZES)
    kinds += (table.class_ids - 1) * (len(SIZES) + 1)
    boxes = np.bincount(kinds, minlength=count * (len(SIZES) + 1)).reshape(count, -1)
    del kinds
    shown = np.repeat(np.arange(len(table.images)) * count, np.diff(table.starts))
    shown += table.class_ids
    images = np.bincount((np.unique(shown) - 1) % count, minlength=count)
    return tuple(
        ClassFigures(name, small + medium + large, small, medium, large, crowds, number)
        for name, (small, medium, large, crowds), number in zip(
            table.class_names, boxes.tolist(), images.tolist(), strict=True
        )
    )


def _of_splits(table: AnnotationTable, per_image: np.ndarray) -> tuple[SplitFigures, ...]:
    splits = [image.split for image in table.images]
    names: Sequence[str | None] = [*table.split_names, *([None] if None in splits else [])]
    number = {name: place for place, name in enumerate(names)}
    of_image = np.fromiter((number[split] for split in splits), np.int64, len(splits))
    crowds = np.diff(np.concatenate([[0], np.cumsum(table.iscrowd)])[table.starts])
    figures = []
    for place, name in enumerate(names):
        ours = of_image == place
        boxes = per_image[ours]
        figures.append(
            SplitFigures(name, len(boxes), int(boxes.sum()), int(crowds[ours].sum()), int(np.sum(boxes == 0)))
        )
    return tuple(figures)


def _spreads(table: AnnotationTable, per_image: np.ndarray) -> dict[str, Spread]:
    image_sides = np.array([(image.width, image.height) for image in table.images], np.float32)
    ordinary = ~table.iscrowd
    box_side = np.sqrt(table.boxes_xywh[:, 2] * table.boxes_xywh[:, 3], dtype=np.float32)[ordinary]
    of_image = np.repeat(np.sqrt(image_sides.prod(axis=1)), per_image)[ordinary]
    aspect = np.divide(table.boxes_xywh[:, 2], table.boxes_xywh[:, 3], dtype=np.float32)[ordinary]
    steps = np.linspace(0, 1, 21)
    aspects = 2.0 ** np.linspace(-_ASPECT_OCTAVES, _ASPECT_OCTAVES, 8 * _ASPECT_OCTAVES + 1)
    longest = image_sides.max(axis=1)
    columns = {
        "box_side": (box_side, _octaves(box_side)),
        "relative_side": (box_side / of_image, steps),
        "box_aspect": (aspect, aspects),
        "boxes_per_image": (per_image, np.arange(min(int(per_image.max()), _MANY_BOXES) + 2)),
        "score": (table.scores[table.scores < 1], steps),
        "image_side": (longest, _octaves(longest)),
        "image_aspect": (image_sides[:, 0] / image_sides[:, 1], aspects),
    }
    return {name: _spread(values, edges) for name, (values, edges) in columns.items() if len(values)}


def _octaves(values: np.ndarray) -> np.ndarray:
    """Borders that grow by the square root of 2, from 1 at least, around all values."""
    low, high = (2 * np.log2(np.array([values.min(), values.max()]).clip(min=1))) if len(values) else (0, 0)
    return np.asarray(2.0 ** (np.arange(int(low), int(high) + 2) / 2))


def _spread(values: np.ndarray, edges: np.ndarray) -> Spread:
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
    quantiles = np.quantile(values, list(QUANTILES.values()))
    return Spread(dict(zip(QUANTILES, _short(quantiles), strict=True)), _short(edges), tuple(counts.tolist()))


def _short(numbers: np.ndarray) -> tuple[float, ...]:
    """Numbers for people: of six digits."""
    return tuple(float(f"{number:.6g}") for number in numbers.tolist())
