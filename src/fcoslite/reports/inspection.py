"""The page on a data set: its figures as charts, and photographs with their boxes, odd ones and duplicates."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fcoslite.data.dataset import AnnotationTable, seeded_order
from fcoslite.data.formats.table import xywh_to_xyxy
from fcoslite.data.images import UnusableImageError, encode_picture
from fcoslite.data.inspect.figures import QUANTILES, Figures, Spread
from fcoslite.data.inspect.files import Duplicates
from fcoslite.data.inspect.inspect import Inspection
from fcoslite.data.inspect.odd_boxes import OddBoxes, image_of
from fcoslite.detections.draw import Colour, class_colour, crop_around, draw_boxes
from fcoslite.reports.charts import Histogram, draw_histogram
from fcoslite.reports.page import Row, render_page
from fcoslite.storage.files import replace_file

_SAMPLES = 12
_ODD = 4  # pictures of a kind
_DUPLICATES = 8
_SIDE_BY_SIDE = 3  # of a group
_LISTED = 100  # lines of a table
_BARS = 20  # classes
_CELL = 320  # pixels
_QUALITY = 82
_RED: Colour = (235, 40, 40)
_CROWD: Colour = (150, 150, 150)

_PIXELS = [(float(side), f"{side:,}") for side in (1, 4, 16, 32, 96, 256, 1024, 4096, 16384)]  # COCO's borders, too
_OCTAVES = [(2.0**power, f"{2**power:,}") for power in range(20)]
_STEPS = [(step / 5, f"{step / 5:g}") for step in range(6)]
_ASPECTS = [(0.125, "1/8"), (0.25, "1/4"), (0.5, "1/2"), (1.0, "1"), (2.0, "2"), (4.0, "4"), (8.0, "8")]

# name of a spread: title of its chart, label of its axis, and values that the axis names
_CHARTS: dict[str, tuple[str, str, Sequence[tuple[float, str]]]] = {
    "box_side": ("Sides of boxes", "√(width × height), pixels", _PIXELS),
    "relative_side": ("Sides of boxes in their image", "share of the image's side", _STEPS),
    "box_aspect": ("Aspect of boxes", "width / height", _ASPECTS),
    "boxes_per_image": ("Boxes on an image", "boxes", []),
    "score": ("Scores", "score of a detector", _STEPS),
    "image_side": ("Sides of images", "longer side, pixels", _OCTAVES),
    "image_aspect": ("Aspect of images", "width / height", _ASPECTS),
}


@dataclass(frozen=True)
class Picture:
    """A picture on the page: the JPEG's content, what it shows, and of which image."""

    jpeg: bytes
    caption: str
    file_name: str


def write_inspection(found: Inspection, out: Path) -> None:
    """Write the page.

    Args:
        found: What is in the data set; where no file was opened, the page has no pictures.
        out: The HTML file.
    """
    table, figures = found.table, found.figures
    files, place = found.files, table.path.resolve()
    duplicates = files.duplicates[:_DUPLICATES] if files else ()
    page = render_page(
        "inspection.html",
        found=found,
        name=place.name if place.is_dir() else f"{place.parent.name}/{place.name}",
        notes=[*found.faults, *found.remarks],
        cards=_cards(found),
        classes=sorted(figures.classes, key=lambda one: (-one.boxes, one.name))[:_LISTED],
        charts={name: _chart(name, spread) for name, spread in figures.spreads.items()},
        quantiles=[Row(_CHARTS[name][0], list(spread.quantiles.values())) for name, spread in figures.spreads.items()],
        quantile_names=list(QUANTILES),
        odd=[(kind, _odd_pictures(kind, found)) for kind in found.odd_boxes],
        listed=_LISTED,
        most_bars=_BARS,
        duplicates=[(group, _duplicate_pictures(group, found)) for group in duplicates],
        samples=_samples(found, files.opened) if files else [],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, page.encode())


def _cards(found: Inspection) -> list[Row]:
    figures: Figures = found.figures
    cards = {
        "images": figures.images,
        "images without a box": figures.images_without_box,
        "boxes": figures.boxes,
        "crowds": figures.crowds,
        "classes": len(figures.classes),
    }
    if figures.scored:
        cards["boxes with a score"] = figures.scored
    if found.files:
        cards |= {"files that cannot be used": len(found.files.unusable), "duplicates": len(found.files.duplicates)}
        if found.table.split_names:
            cards["photographs in two splits"] = len(found.files.shared)
    return [Row(name, [count]) for name, count in cards.items()]


def _chart(name: str, spread: Spread) -> Histogram:
    title, label, ticks = _CHARTS[name]
    if name == "boxes_per_image":
        last = len(spread.counts) - 1
        more = "+" if spread.quantiles["max"] > last else ""
        step = max(1, last // 10)
        ticks = [(count + 0.5, f"{count}{more if count == last else ''}") for count in range(0, last + 1, step)]
    return draw_histogram(title, label, spread.edges, spread.counts, ticks)


def _samples(found: Inspection, opened: Sequence[int]) -> list[Picture]:
    """Some images with all their boxes, in an order that is always the same, those without a box last."""
    table = found.table
    chosen = seeded_order([table.images[index].image_id for index in opened], 0, "samples")
    order = [opened[place] for place in chosen.tolist()]
    order.sort(key=lambda index: table.starts[index] == table.starts[index + 1])
    return _pictures(found, [(index, _caption(table, index), None) for index in order[:_SAMPLES]])


def _odd_pictures(kind: OddBoxes, found: Inspection) -> list[Picture]:
    if not found.files:
        return []
    table = found.table
    wanted = []
    for row in kind.rows[:_ODD]:
        x, y, width, height = table.boxes_xywh[row].tolist()
        caption = f"{table.class_names[table.class_ids[row] - 1]}, {width:.4g} × {height:.4g} at {x:.4g}, {y:.4g}"
        wanted.append((image_of(table, row), caption, row))
    return _pictures(found, wanted)


def _duplicate_pictures(group: Duplicates, found: Inspection) -> list[Picture]:
    table = found.table
    shown = group.images[:_SIDE_BY_SIDE]
    return _pictures(found, [(index, table.images[index].split or _caption(table, index), None) for index in shown])


def _caption(table: AnnotationTable, index: int) -> str:
    image, count = table.images[index], int(table.starts[index + 1] - table.starts[index])
    boxes = "no box" if not count else "1 box" if count == 1 else f"{count:,} boxes"
    return f"{image.width}x{image.height}, {boxes}"


def _pictures(found: Inspection, wanted: Iterable[tuple[int, str, int | None]]) -> list[Picture]:
    """Pictures of images with their boxes: position, caption, and the row of a box to show in red and from near."""
    table = found.table
    pictures = []
    for index, caption, row in wanted:
        try:
            _, pixels = found.pictures.read(index)
        except UnusableImageError:  # or not opened: the caption would tell nothing
            continue
        drawn = _draw(table, index, pixels, row)
        pictures.append(
            Picture(encode_picture(drawn, ".jpg", jpeg_quality=_QUALITY), caption, table.images[index].file_name)
        )
    return pictures


def _draw(table: AnnotationTable, index: int, image_rgb: np.ndarray, row: int | None) -> np.ndarray:
    rows = np.arange(table.starts[index], table.starts[index + 1])
    boxes_xyxy = xywh_to_xyxy(table.boxes_xywh[rows])
    if row is None:
        scale = _CELL / max(image_rgb.shape[:2])
        size = [max(1, round(side * scale)) for side in image_rgb.shape[1::-1]]
        drawn = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        placed, shown = boxes_xyxy * scale, np.ones(len(rows), bool)
    else:
        crop = crop_around(image_rgb, boxes_xyxy[row - rows[0]], _CELL)
        drawn, placed, shown = crop.image_rgb, crop.placed(boxes_xyxy), crop.shows(boxes_xyxy)
    shown &= rows != row
    crowds = table.iscrowd[rows]
    drawn = draw_boxes(drawn, placed[shown & crowds], _CROWD)
    for class_id in np.unique(table.class_ids[rows]).tolist():
        ours = placed[shown & ~crowds & (table.class_ids[rows] == class_id)]
        labels = [table.class_names[class_id - 1]] * len(ours) if len(table.categories) > 1 else None
        drawn = draw_boxes(drawn, ours, class_colour(class_id), labels)
    return draw_boxes(drawn, placed[rows == row], _RED)
