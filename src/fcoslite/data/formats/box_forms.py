"""What the four numbers of a box are: as the format has them, or as somebody else meant them."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from fcoslite.data.dataset import UNKNOWN_SIDES, ImageRecord
from fcoslite.data.formats.table import AT_ONCE, Columns

_log = logging.getLogger("fcoslite")

BoxForm = Literal["xywh", "xyxy", "fractions"]

_BORDER = 1.0  # pixels that a box may reach over, by rounding
_SMALLEST = 8  # pixels of an image, in which a box of one pixel might be meant


def as_pixels(
    columns: Columns, images: Sequence[ImageRecord], form: BoxForm, path: Path, perhaps_corners: bool = True
) -> Columns:
    """Boxes as x, y, width, height in pixels; where they seem to be of another form, a warning asks.

    Areas of boxes in another form are those of the boxes: nobody knows how they were computed.

    Args:
        columns: The boxes as they stand.
        images: All images.
        form: What they are.
        path: The file, for messages.
        perhaps_corners: Whether they might be x1, y1, x2, y2: not in formats that name each number.
    """
    of_images = np.fromiter(((one.width, one.height) for one in images), np.dtype((np.int32, 2)), len(images))
    boxes = columns.boxes_xywh
    if form == "xyxy":
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    elif form == "fractions":
        sides = of_images[columns.image_index.clip(min=0)]
        boxes = boxes * np.concatenate([sides, sides], axis=1)
    else:
        _ask(columns, of_images, path, perhaps_corners)
        return columns
    return replace(columns, boxes_xywh=boxes, areas=np.full(len(boxes), np.nan))


def _ask(columns: Columns, of_images: np.ndarray, path: Path, perhaps_corners: bool) -> None:
    count, beyond, tiny, fits = 0, 0, 0, 0
    for start in range(0, len(columns.ids), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        sides = of_images[columns.image_index[rows].clip(min=0)].astype(np.float64)
        known = (sides != UNKNOWN_SIDES).any(axis=1)
        (x, y, w, h), (width, height) = columns.boxes_xywh[rows][known].T, sides[known].T
        with np.errstate(over="ignore"):
            x_far, y_far = x + w, y + h
        within_first = (x_far <= 1 + 1e-6) & (y_far <= 1 + 1e-6)
        count += len(x)
        beyond += int(np.count_nonzero((x_far > width + _BORDER) | (y_far > height + _BORDER)))
        tiny += int(np.count_nonzero(within_first & (width >= _SMALLEST) & (height >= _SMALLEST)))
        fits += int(np.count_nonzero((w > x) & (h > y) & (w <= width + _BORDER) & (h <= height + _BORDER)))
    if tiny and tiny >= 0.9 * count:
        text = "%s: %d of %d boxes lie within the first pixel of their image: are they fractions? --boxes fractions"
        _log.warning(text, path, tiny, count)
    elif perhaps_corners and beyond and beyond >= 0.05 * count:
        beyond_as_corners = count - fits
        if beyond_as_corners > 0.1 * beyond:
            return
        text = (
            "%s: %d of %d boxes reach beyond their image as x y w h, %d as x1 y1 x2 y2: are they x1 y1 x2 y2? "
            "--boxes xyxy"
        )
        _log.warning(text, path, beyond, count, beyond_as_corners)
