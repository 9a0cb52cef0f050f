"""Network outputs to boxes: score, best candidates, decode; then non-maximum suppression; in one compiled graph."""

from keras import ops

from fcoslite.config.settings import DetectSettings
from fcoslite.fcos.locations import Locations
from fcoslite.fcos.nms import non_max_suppression
from fcoslite.geometry.boxes import Tensor, ltrb_to_xyxy, take_rows

_PRE_FILTER = 0.001  # scores below never reach NMS
_TOP_K = 1000  # best candidates of a level that reach NMS


def detect(outputs: dict[str, Tensor], locations: Locations, settings: DetectSettings) -> dict[str, Tensor]:
    """Find the boxes of a batch.

    Args:
        outputs: `class_logits` [B, N, C], `distances` [B, N, 4] in strides, `quality_logits` [B, N, 1] if
            there is a quality.
        locations: Of the letterboxed image, N of them.
        settings: Thresholds and limits.

    Returns:
        `detections` [B, D, 6]: x_min, y_min, x_max, y_max in letterboxed pixels, score, class id (1 is channel 0),
        best first, zeros after the last; and `count` [B] int32.
    """
    classes = outputs["class_logits"].shape[-1]
    scores = ops.sigmoid(outputs["class_logits"])  # (B, N, C)
    if "quality_logits" in outputs:
        scores = scores * ops.sigmoid(outputs["quality_logits"])
    scores = ops.where(scores > _PRE_FILTER, scores, 0.0)

    best_scores, best_index = [], []
    for level in locations.levels:
        choices = (level.stop - level.start) * classes
        top, index = ops.top_k(ops.reshape(scores[:, level], (-1, choices)), min(_TOP_K, choices))
        best_scores.append(top)
        best_index.append(ops.cast(index, "int32") + level.start * classes)
    candidate_scores = ops.concatenate(best_scores, axis=1)  # (B, K)
    index = ops.concatenate(best_index, axis=1)
    location, channel = index // classes, index % classes
    distances = take_rows(outputs["distances"], location)  # (B, K, 4)
    points, step = (ops.take(each, location, axis=0) for each in (locations.points, locations.strides))
    boxes_xyxy = ltrb_to_xyxy(points, distances * step[..., None])

    chosen, count = non_max_suppression(
        boxes_xyxy,
        candidate_scores,
        channel if classes > 1 else None,
        settings.iou,
        settings.score,
        settings.max_detections,
    )
    class_ids = ops.cast(channel + 1, "float32")
    rows = ops.concatenate([boxes_xyxy, candidate_scores[..., None], class_ids[..., None]], axis=-1)  # (B, K, 6)
    found = take_rows(rows, ops.maximum(chosen, 0))
    return {"detections": found * ops.cast(chosen[..., None] >= 0, "float32"), "count": count}
