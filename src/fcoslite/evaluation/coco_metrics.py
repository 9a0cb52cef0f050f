"""COCO's average precision by pycocotools, and the figure of the original detector beside it."""

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fcoslite.data.dataset import LabelledImage
from fcoslite.data.formats.coco import to_coco_json
from fcoslite.detections.detections import Detections
from fcoslite.geometry.overlaps import pairwise_iou

if TYPE_CHECKING:
    from pycocotools.coco import COCO

# pycocotools' twelve figures, in its order (COCOeval.summarize)
COCO_FIGURES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip


def coco_metrics(
    images: Sequence[LabelledImage], results: list[dict[str, Any]], class_names: Sequence[str]
) -> tuple[dict[str, float], np.ndarray]:
    """COCO's figures for boxes, crowds ignored (https://cocodataset.org/#detection-eval).

    Args:
        images: Ground truth.
        results: Of `to_results` with category ids 1 to C.
        class_names: C names.

    Returns:
        The twelve figures, in [0, 1]; -1 where there is no ground truth of that size. And the precision at IoU
        0.50, ..., 0.95 (10) and 101 recalls, averaged over classes: [10, 101], -1 without ground truth.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports by print
        truth = COCO()
        truth.dataset = to_coco_json(images, class_names)
        truth.createIndex()
        found = truth.loadRes(results) if results else _nothing_found(truth)
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {name: float(value) for name, value in zip(COCO_FIGURES, evaluation.stats, strict=True)}
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (10, 101, C): all sizes, 100 detections
    known = precision[0, 0] > -1
    curves = precision[:, :, known].mean(axis=-1) if known.any() else np.full((10, 101), -1.0)
    return figures, curves


def _nothing_found(truth: "COCO") -> "COCO":
    """Results without a detection: `loadRes` refuses an empty list."""
    found = type(truth)()
    found.dataset = {**truth.dataset, "annotations": []}
    found.createIndex()
    return found


def ap75_per_image(images: Sequence[LabelledImage], detections: Sequence[Detections]) -> float:
    """The original detector's figure: the mean over images of each image's own AP at IoU 0.75.

    A mean of per-image APs is not COCO's AP; it is kept so that the original's 0.375 to 0.395 can be compared.
    Images without a box that counts are left out; -1 where that leaves none.
    """
    figures = [
        _image_ap(image.boxes_xyxy[~image.iscrowd], image.class_ids[~image.iscrowd], found, 0.75)
        for image, found in zip(images, detections, strict=True)
        if (~image.iscrowd).any()
    ]
    return float(np.mean(figures)) if figures else -1.0


def _image_ap(boxes_xyxy: np.ndarray, class_ids: np.ndarray, found: Detections, threshold: float) -> float:
    """Greedy matching by score, the point (recall 0, precision 1) put first, area by the trapezoid rule."""
    if not len(found):
        return 0.0
    overlaps = pairwise_iou(found.boxes_xyxy, boxes_xyxy, np.zeros(len(boxes_xyxy), bool))
    free = np.ones(len(boxes_xyxy), bool)
    hits = np.zeros(len(found), bool)
    for row in np.argsort(-found.scores, kind="stable"):
        candidates = np.where(free & (class_ids == found.class_ids[row]), overlaps[row], 0.0)
        best = int(candidates.argmax())
        if candidates[best] >= threshold:
            hits[row], free[best] = True, False
    hits = hits[np.argsort(-found.scores, kind="stable")]
    true = np.cumsum(hits)
    recall = np.concatenate([[0.0], true / len(boxes_xyxy)])
    precision = np.concatenate([[1.0], true / np.arange(1, len(hits) + 1)])
    return float(np.trapezoid(precision, recall))
