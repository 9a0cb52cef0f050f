"""Network outputs to boxes and scores: what every location says, before any of it is dropped."""

from keras import ops

from fcoslite.geometry.boxes import Tensor, ltrb_to_xyxy


def decode(outputs: dict[str, Tensor], points: Tensor, strides: Tensor) -> dict[str, Tensor]:
    """Read the outputs for a batch.

    Args:
        outputs: `class_logits` [B, N, C], `distances` [B, N, 4] in strides, `quality_logits` [B, N, 1] if
            there is a quality.
        points: [N, 2], the locations of the letterboxed image, pixels.
        strides: [N, 1], theirs, pixels.

    Returns:
        `boxes` [B, N, 4]: x_min, y_min, x_max, y_max in letterboxed pixels; `scores` [B, N, C] in [0, 1].
    """
    scores = ops.sigmoid(outputs["class_logits"])
    if "quality_logits" in outputs:
        scores = scores * ops.sigmoid(outputs["quality_logits"])
    distances = outputs["distances"] * strides
    return {"boxes": ltrb_to_xyxy(points, distances), "scores": scores}
