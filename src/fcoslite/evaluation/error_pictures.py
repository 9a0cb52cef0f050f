"""Pictures of what a detector gets wrong."""

from itertools import pairwise

import cv2
import numpy as np

from fcoslite.detections.draw import Colour, crop_around, draw_boxes
from fcoslite.evaluation.detection_errors import WorstError

_RED: Colour = (235, 40, 40)
_GREEN: Colour = (40, 230, 90)
_YELLOW: Colour = (255, 225, 40)  # ground truth
_CYAN: Colour = (60, 210, 235)  # a crowd


def draw_error(error: WorstError, image_rgb: np.ndarray, cell: int) -> np.ndarray:
    """Draw an error in red on a crop around it, other detections green, persons in yellow dashes, crowds in cyan.

    Args:
        error: What to show.
        image_rgb: [h, w, 3] uint8, its image in the size of the original.
        cell: The longer side of the crop, pixels.

    Returns:
        [h, w, 3] uint8.
    """
    image, found = error.judged.image, error.judged.found
    crop = crop_around(image_rgb, error.box_xyxy, cell)
    drawn = draw_boxes(crop.image_rgb, crop.placed(found.boxes_xyxy[crop.shows(found.boxes_xyxy)]), _GREEN)
    for box, iscrowd in zip(crop.placed(image.boxes_xyxy), image.iscrowd, strict=True):
        _draw_dashes(drawn, box, _CYAN if iscrowd else _YELLOW)
    return draw_boxes(drawn, crop.placed(error.box_xyxy[None]), _RED)


def _draw_dashes(canvas: np.ndarray, box_xyxy: np.ndarray, colour: Colour) -> None:
    left, top, right, bottom = box_xyxy
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    for start, end in pairwise(corners):
        dashes = max(1, round(float(np.abs(end - start).sum()) / 14))
        for dash in range(dashes):
            first, last = (np.round(start + (end - start) * (dash + part) / dashes).astype(int) for part in (0, 0.5))
            cv2.line(canvas, first.tolist(), last.tolist(), colour, 2)
