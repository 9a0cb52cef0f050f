"""From what several views of an image show to one set of boxes."""

from collections.abc import Callable, Sequence

import numpy as np

from fcoslite.detections.detections import Detections
from fcoslite.errors import FcosliteError
from fcoslite.geometry.overlaps import pairwise_iou

SURE = 0.4  # in our measurements nine of ten boxes of such a score are persons
_SAME = 0.6  # IoU from which boxes of different views are one
_DOUBLE = 0.5  # IoU
_INSIDE = 0.7  # share of a box


def load_fusion() -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Weighted box fusion of the package ensemble-boxes (https://arxiv.org/abs/1910.13302).

    Raises:
        FcosliteError: It is not installed.
    """
    try:
        from ensemble_boxes import weighted_boxes_fusion
    except ImportError:
        hint = 'pip install "fcoslite[label]", or one detector, one size and --no-mirror'
        raise FcosliteError("to fuse several views the package ensemble-boxes is needed", hint) from None
    fusion: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]] = weighted_boxes_fusion
    return fusion


def mirrored(found: Detections, width: int) -> Detections:
    """Detections on the mirror image of an image of `width` pixels, in pixels of the image."""
    left, top, right, bottom = found.boxes_xyxy.T
    boxes_xyxy = np.stack([width - right, top, width - left, bottom], axis=1)
    return Detections(boxes_xyxy, found.scores, found.class_ids, found.class_names)


def fuse(views: Sequence[Detections], height: int, width: int) -> Detections:
    """Fuse what views of one image show, at IoU 0.6.

    A box is the mean of its views', weighted by score; its score is the mean over all views, 0 where one lacks it.

    Args:
        views: At least one; the others may have the first one's classes in another order.
        height: Of the image, pixels.
        width: Of the image, pixels.
    """
    names = views[0].class_names
    if len(views) == 1:
        return views[0]
    sides = np.array([width, height, width, height], np.float64)
    boxes = [np.clip(view.boxes_xyxy / sides, 0, 1) for view in views]
    # slivers, which the library would warn of
    kept = [(box[:, 2:] > box[:, :2]).all(axis=1) for box in boxes]
    labels = [np.array([names.index(name) for name in view.class_names])[view.class_ids - 1] for view in views]
    fused, scores, fused_labels = load_fusion()(
        [box[keep] for box, keep in zip(boxes, kept, strict=True)],
        [view.scores[keep] for view, keep in zip(views, kept, strict=True)],
        [label[keep] for label, keep in zip(labels, kept, strict=True)],
        iou_thr=_SAME,
    )
    return Detections(
        boxes_xyxy=(fused * sides).astype(np.float32),
        scores=np.minimum(scores, 1).astype(np.float32),
        class_ids=fused_labels.astype(np.int32) + 1,
        class_names=names,
    )


def choose(found: Detections, least: float) -> Detections:
    """Leave out boxes that score less than `least`, and unsure ones that repeat a surer one of their class.

    What lies for the most part in a surer box, or overlaps it by half, is mostly half a person, or the same one again.
    """
    return found.take(chosen_rows(found, least))


def chosen_rows(found: Detections, least: float) -> np.ndarray:
    """The rows that `choose` leaves, the surest first."""
    order = np.argsort(-found.scores, kind="stable")
    kept: list[int] = []
    for row in order[found.scores[order] >= least]:
        surer = [other for other in kept if found.class_ids[other] == found.class_ids[row]]
        unsure = found.scores[row] < SURE
        if not (unsure and repeats(found.boxes_xyxy[[row]], found.boxes_xyxy[surer])[0]):
            kept.append(int(row))
    return np.array(kept, np.int64)


def repeats(boxes_xyxy: np.ndarray, others_xyxy: np.ndarray) -> np.ndarray:
    """Which boxes overlap one of others by more than IoU 0.5, or lie in it by more than 70 %: [N, 4], [M, 4] to [N]."""
    count = len(others_xyxy)
    same = pairwise_iou(boxes_xyxy, others_xyxy, np.zeros(count, bool)) > _DOUBLE
    inside = pairwise_iou(boxes_xyxy, others_xyxy, np.ones(count, bool)) > _INSIDE
    return np.asarray((same | inside).any(axis=1))
