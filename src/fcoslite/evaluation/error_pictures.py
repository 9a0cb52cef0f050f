"""Pictures of what a detector gets wrong."""

from itertools import pairwise

import cv2
import numpy as np

from fcoslite.detections.draw import Colour, draw_boxes
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
    centre = (error.box_xyxy[:2] + error.box_xyxy[2:]) / 2
    # twice the box, and never so near that a small person is a few blurred pixels
    side = max(2 * float((error.box_xyxy[2:] - error.box_xyxy[:2]).max()), 120.0)
    left, top = np.maximum(np.floor(centre - side / 2), 0).astype(int)
    right, bottom = np.minimum(np.ceil(centre + side / 2), (image.width, image.height)).astype(int)
    crop = image_rgb[top:bottom, left:right]
    scale = cell / max(crop.shape[:2])
    crop = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)

    def placed(boxes_xyxy: np.ndarray) -> np.ndarray:
        return (boxes_xyxy - np.array([left, top] * 2)) * scale

    seen = (found.boxes_xyxy[:, :2] < (right, bottom)) & (found.boxes_xyxy[:, 2:] > (left, top))
    crop = draw_boxes(crop, placed(found.boxes_xyxy[seen.all(axis=1)]), _GREEN)
    for box, iscrowd in zip(placed(image.boxes_xyxy), image.iscrowd, strict=True):
        _draw_dashes(crop, box, _CYAN if iscrowd else _YELLOW)
    return draw_boxes(crop, placed(error.box_xyxy[None]), _RED)


def _draw_dashes(canvas: np.ndarray, box_xyxy: np.ndarray, colour: Colour) -> None:
    left, top, right, bottom = box_xyxy
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    for start, end in pairwise(corners):
        dashes = max(1, round(float(np.abs(end - start).sum()) / 14))
        for dash in range(dashes):
            first, last = (np.round(start + (end - start) * (dash + part) / dashes).astype(int) for part in (0, 0.5))
            cv2.line(canvas, first.tolist(), last.tolist(), colour, 2)
