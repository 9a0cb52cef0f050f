"""Images with boxes, and what was found on them, in few words."""

import numpy as np

from fcoslite.data.dataset import LabelledImage
from fcoslite.detections.detections import Detections


def image(image_id, boxes, crowd=None, classes=None, scores=None) -> LabelledImage:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(boxes)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return LabelledImage(
        image_id, f"{image_id}.jpg", 200, 300, boxes,
        np.array(classes or [1] * count, np.int32), np.array(crowd or [False] * count, bool), areas,
        np.array(scores or [1] * count, np.float32),
    )  # fmt: skip


def found(boxes, scores, classes=None) -> Detections:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    ids = np.array(classes or [1] * len(boxes), np.int32)
    return Detections(boxes, np.array(scores, np.float32), ids, ("person", "dog"))
