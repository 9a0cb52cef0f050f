"""Network outputs to boxes: score, best candidates, decode; then non-maximum suppression; in one compiled graph."""

from keras import ops

from fcoslite.config.settings import DetectSettings
from fcoslite.fcos.locations import grid_points
from fcoslite.fcos.nms import non_max_suppression
from fcoslite.geometry.boxes import Tensor, ltrb_to_xyxy, take_rows

_PRE_FILTER = 0.001  # scores below never reach NMS
_TOP_K = 1000  # best candidates of a level that reach NMS


def detect(
    outputs: dict[str, Tensor], image_size: int, strides: tuple[int, ...], settings: DetectSettings
) -> dict[str, Tensor]:
    """Find the boxes of a batch.

    Args:
        outputs: `class_logits` [B, N, C], `distances` [B, N, 4] in strides, `quality_logits` [B, N, 1] if
            there is a quality.
        image_size: Side of the letterboxed image, pixels.
        strides: Of the levels, pixels.
        settings: Thresholds and limits.

    Returns:
        `detections` [B, D, 6]: x_min, y_min, x_max, y_max in letterboxed pixels, score, class id (1 is channel 0),
        best first, zeros after the last; and `count` [B] int32.
    """
    points, step = grid_points(image_size, strides)
    classes = outputs["class_logits"].shape[-1]
    scores = ops.sigmoid(outputs["class_logits"])  # (B, N, C)
    if "quality_logits" in outputs:
        scores = scores * ops.sigmoid(outputs["quality_logits"])
    scores = ops.where(scores > _PRE_FILTER, scores, 0.0)

    best_scores, best_index = [], []
    start = 0
    for stride in strides:
        locations = (image_size // stride) ** 2
        flat = ops.reshape(scores[:, start : start + locations], (-1, locations * classes))
        top, index = ops.top_k(flat, min(_TOP_K, locations * classes))
        best_scores.append(top)
        best_index.append(ops.cast(index, "int32") + start * classes)
        start += locations
    candidate_scores = ops.concatenate(best_scores, axis=1)  # (B, K)
    index = ops.concatenate(best_index, axis=1)
    location, channel = index // classes, index % classes
    distances = take_rows(outputs["distances"], location)  # (B, K, 4)
    boxes_xyxy = ltrb_to_xyxy(
        ops.take(points, location, axis=0), distances * ops.take(step, location, axis=0)[..., None]
    )

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
