"""The boxes that a batch is trained on, and the one meaning of padding, class, doubt and what is to be ignored.

Boxes are [B, M, 6] float32: class id, x_min, y_min, x_max, y_max in letterboxed pixels, and a doubt. Class id 1 is
channel 0; 0 is padding, wherever it stands and whatever else the row says. The doubt is 0 for a box that is surely
right, and 1 for one that is only to be ignored, as a crowd is, and one that was cut to little: it is neither to be
found nor background. In between, 1 less the doubt is how probably the box is right.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from keras import ops

from fcoslite.config.settings import LossSettings
from fcoslite.geometry.batch_images import normalise
from fcoslite.geometry.boxes import Tensor, area


def unpack(batch: Mapping[str, Tensor], settings: LossSettings) -> tuple[Tensor, Tensor]:
    """A batch of `data.sources.source` -> images [B, S, S, 3] in [0, 1] and boxes [B, M, 6].

    Args:
        batch: Its scores become doubts; boxes of too low a score, padding.
        settings: How.
    """
    boxes, scores = batch["boxes"], batch["scores"]
    doubt = 1.0 - to_probability(scores, settings.score_table)
    doubt = ops.where(batch["crowd"], ops.ones_like(doubt), doubt)
    # a crowd stays, whoever drew it: it may be a box that somebody is to be asked about
    kept = ops.logical_or(batch["crowd"], scores >= settings.least_score)
    classes = boxes[..., :1] * ops.cast(kept, "float32")[..., None]
    return normalise(batch["images"]), ops.concatenate([classes, boxes[..., 1:], doubt[..., None]], axis=-1)


def to_probability(scores: Tensor, table: Sequence[tuple[float, float]]) -> Tensor:
    """How probably boxes of these scores are right: linear between the rows of a table of score and probability.

    Below its first row the line comes from (0, 0); above the last it leads to (1, 1). A score of 1 is exactly 1.
    """
    corners = [(0.0, 0.0), *table, (1.0, 1.0)]
    probability = ops.zeros_like(scores)
    for (low, before), (high, after) in pairwise(corners):
        probability = probability + (after - before) / (high - low) * ops.clip(scores - low, 0.0, high - low)
    return ops.where(scores >= 1.0, ops.ones_like(probability), probability)


def candidates(boxes: Tensor) -> Tensor:
    """Whether a box is to be found, [B, M] bool."""
    return ops.logical_and(_real(boxes), boxes[..., 5] < 1)


def ignored(boxes: Tensor) -> Tensor:
    """Whether a box is only to be ignored, [B, M] bool."""
    return ops.logical_and(_real(boxes), boxes[..., 5] >= 1)


def half_believed(boxes: Tensor) -> Tensor:
    """Whether a detector may have drawn a row wrongly, [B, M] bool; those of too low a score, too."""
    doubt = boxes[..., 5]
    return ops.logical_and(area(sides(boxes)) > 0, ops.logical_and(doubt > 0, doubt < 1))


def probabilities(boxes: Tensor) -> Tensor:
    """How probably a box is right, [B, M]."""
    return 1.0 - boxes[..., 5]


def sides(boxes: Tensor) -> Tensor:
    """x_min, y_min, x_max, y_max, [B, M, 4]."""
    return boxes[..., 1:5]


def channels(boxes: Tensor) -> Tensor:
    """The channel of each box's class, [B, M] int32; -1 for padding."""
    return ops.cast(boxes[..., 0], "int32") - 1


def _real(boxes: Tensor) -> Tensor:
    return boxes[..., 0] > 0
