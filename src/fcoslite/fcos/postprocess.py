"""From what every location says to the boxes that are handed on: score threshold, best candidates, NMS, box voting."""

from typing import NamedTuple

import numpy as np

from fcoslite.config.settings import DetectSettings
from fcoslite.fcos.box_voting import vote
from fcoslite.fcos.nms import non_max_suppression

_LEAST_SCORE = 0.001  # scores below never reach NMS
_MOST_CANDIDATES = 5000  # that reach NMS, the best ones


class Found(NamedTuple):
    """The boxes of an image, best first.

    Attributes:
        boxes_xyxy: [D, 4] float32, letterboxed pixels.
        scores: [D] float32.
        class_ids: [D] int32, as in files: 1 is the first class.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray


def postprocess(boxes_xyxy: np.ndarray, scores: np.ndarray, settings: DetectSettings) -> Found:
    """Choose the boxes of one image.

    Args:
        boxes_xyxy: [N, 4], the box that each location says.
        scores: [N, C], by class.
        settings: Thresholds and limits.
    """
    location, channel = np.nonzero(scores > max(settings.score, _LEAST_SCORE))
    values = scores[location, channel]
    if len(values) > _MOST_CANDIDATES:
        best = np.argpartition(-values, _MOST_CANDIDATES)[:_MOST_CANDIDATES]
        location, channel, values = location[best], channel[best], values[best]
    boxes = boxes_xyxy[location]
    suppressed = non_max_suppression(boxes, values, channel, settings.iou, settings.max_detections)
    kept = suppressed.kept
    return Found(vote(boxes, values, suppressed), values[kept], (channel[kept] + 1).astype(np.int32))
