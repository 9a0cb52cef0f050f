"""What the four numbers of a box are: as the format has them, or as somebody else meant them."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from fcoslite.data.dataset import UNKNOWN_SIDES, ImageRecord
from fcoslite.data.formats.table import Columns

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
    sides = np.array([(image.width, image.height) for image in images], np.float64)[columns.image_index.clip(min=0)]
    boxes = columns.boxes_xywh
    if form == "xyxy":
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    elif form == "fractions":
        boxes = boxes * np.concatenate([sides, sides], axis=1)
    else:
        known = (sides != UNKNOWN_SIDES).any(axis=1)
        _ask(boxes[known], sides[known], path, perhaps_corners)
        return columns
    return replace(columns, boxes_xywh=boxes, areas=np.full(len(boxes), np.nan))


def _ask(boxes: np.ndarray, sides: np.ndarray, path: Path, perhaps_corners: bool) -> None:
    count = len(boxes)
    (x, y, w, h), (width, height) = boxes.T, sides.T
    with np.errstate(over="ignore"):
        x_far, y_far = x + w, y + h
    beyond = int(np.count_nonzero((x_far > width + _BORDER) | (y_far > height + _BORDER)))
    within_first = (x_far <= 1 + 1e-6) & (y_far <= 1 + 1e-6)
    tiny = int(np.count_nonzero(within_first & (width >= _SMALLEST) & (height >= _SMALLEST)))
    if tiny and tiny >= 0.9 * count:
        text = "%s: %d of %d boxes lie within the first pixel of their image: are they fractions? --boxes fractions"
        _log.warning(text, path, tiny, count)
    elif perhaps_corners and beyond and beyond >= 0.05 * count:
        fits = (w > x) & (h > y) & (w <= width + _BORDER) & (h <= height + _BORDER)
        beyond_as_corners = count - int(np.count_nonzero(fits))
        if beyond_as_corners > 0.1 * beyond:
            return
        text = (
            "%s: %d of %d boxes reach beyond their image as x y w h, %d as x1 y1 x2 y2: are they x1 y1 x2 y2? "
            "--boxes xyxy"
        )
        _log.warning(text, path, beyond, count, beyond_as_corners)
