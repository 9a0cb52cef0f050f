"""Detections in file formats."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fcoslite.detections.detections import Detections


class _Identified(Protocol):
    @property
    def image_id(self) -> int:
        """COCO's id."""


def to_boxes(detections: Detections) -> list[dict[str, Any]]:
    """Detections as plain data: `bbox` as x, y, width, height in pixels, `score` (not cube-rooted) and `class`.

    Where they are tracked, also `track`, None for a box that has no number yet.
    """
    boxes_xywh = detections.boxes_xyxy.astype(np.float64)
    boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
    boxes: list[dict[str, Any]] = [
        {
            "bbox": [round(side, 2) for side in box],
            "score": round(float(score), 5),
            "class": detections.class_names[class_id - 1],
        }
        for box, score, class_id in zip(boxes_xywh.tolist(), detections.scores, detections.class_ids, strict=True)
    ]
    if detections.track_ids is not None:
        for box, track in zip(boxes, detections.track_ids.tolist(), strict=True):
            box["track"] = track if track > 0 else None
    return boxes


def to_results(
    images: Sequence[_Identified], detections: Sequence[Detections], category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Detections in COCO's results format: image_id, category_id, bbox xywh in original pixels, score.

    Args:
        images: What was detected on.
        detections: One per image.
        category_ids: The file's category id by class id - 1.
    """
    results = []
    for image, found in zip(images, detections, strict=True):
        for box, score, class_id in zip(found.boxes_xyxy, found.scores, found.class_ids, strict=True):
            x_min, y_min, x_max, y_max = (round(float(value), 2) for value in box)
            bbox = [x_min, y_min, round(x_max - x_min, 2), round(y_max - y_min, 2)]
            results.append(
                {
                    "image_id": image.image_id,
                    "category_id": int(category_ids[class_id - 1]),
                    "bbox": bbox,
                    "score": round(float(score), 5),
                }
            )
    return results
