"""What a teacher says of the very view that the student sees, location by location, and the loss against it.

Function matching (arXiv 2106.05237): the student learns scores and boxes everywhere, not only where somebody drew a
box, and from any view. A person whom the labels miss is no background to the teacher, and so counts less as such.
"""

from dataclasses import dataclass, replace

from keras import ops

from fcoslite.fcos.ground_truth import candidates, half_believed
from fcoslite.fcos.locations import Locations
from fcoslite.fcos.matching import inside_any
from fcoslite.fcos.targets import Targets
from fcoslite.geometry.boxes import Tensor, giou, ltrb_to_xyxy

_SEEN = 0.1  # a score from which on a teacher's box is worth learning
_NO_BACKGROUND = 0.15  # a score from which on a location is no background at all
_NEARLY_ONE = 1.0 - 1e-4


@dataclass(frozen=True, slots=True)
class Taught:
    """What a teacher says at every location of a batch.

    Attributes:
        scores: [B, N, C] in [0, 1], class and quality in one.
        boxes_xyxy: [B, N, 4], pixels.
        known: [1, N] float32, 0 on levels that the teacher does not have.
    """

    scores: Tensor
    boxes_xyxy: Tensor
    known: Tensor


def believed(taught: Taught, boxes: Tensor, targets: Targets, locations: Locations) -> Taught:
    """The same, as far as the labels do not know better.

    Where every box of an image is sure, people drew them all, and outside of them there is nobody. Within a crowd
    nobody knows.

    Args:
        taught: Of the batch.
        boxes: [B, M, 6], see `ground_truth`.
        targets: Of the boxes.
        locations: Of the image.
    """
    real = candidates(boxes)
    some = ops.any(real, axis=-1, keepdims=True)  # (B, 1)
    complete = ops.logical_and(some, ops.logical_not(ops.any(half_believed(boxes), axis=-1, keepdims=True)))
    within = inside_any(boxes, real, locations)
    possible = ops.cast(ops.logical_or(ops.logical_not(complete), within), "float32") * targets.class_weight
    return replace(taught, scores=ops.stop_gradient(taught.scores * (possible * taught.known)[..., None]))


def with_doubted_background(targets: Targets, taught: Taught) -> Targets:
    """Targets whose background counts the less, the more the teacher sees there."""
    seen = ops.max(taught.scores, axis=-1)
    background = ops.clip(1.0 - seen / _NO_BACKGROUND, 0.0, 1.0)
    weight = ops.where(targets.positive > 0, targets.class_weight, targets.class_weight * background)
    return replace(targets, class_weight=ops.stop_gradient(weight))


def teaching_loss(outputs: dict[str, Tensor], taught: Taught, weight: Tensor, locations: Locations) -> Tensor:
    """Quality focal loss of the scores, and GIoU loss of the boxes where the teacher sees something.

    The teacher's score is what class and quality of the student give together. Both losses are divided by the sum of
    the scores above `_SEEN`.

    Args:
        outputs: Of the student, see `Detector.network`.
        taught: As far as it is believed.
        weight: [B, N], 0 where nobody knows what is right.
        locations: Of the image.
    """
    log_score = ops.log_sigmoid(outputs["class_logits"])
    if "quality_logits" in outputs:
        log_score = log_score + ops.log_sigmoid(outputs["quality_logits"])
    score, wanted = ops.exp(log_score), taught.scores  # (B, N, C)
    entropy = -wanted * log_score - (1.0 - wanted) * ops.log1p(-ops.minimum(score, _NEARLY_ONE))
    # the distance is no path of the gradient: where both agree there is nothing to learn, from any side
    each = ops.square(ops.stop_gradient(wanted - score)) * entropy * (weight * taught.known)[..., None]

    seen = ops.max(wanted, axis=-1)
    seen = ops.where(seen > _SEEN, seen, 0.0)
    normaliser = ops.maximum(ops.sum(seen), 1.0)
    predicted = ltrb_to_xyxy(locations.points, outputs["distances"] * locations.strides[:, None])
    boxes = (1.0 - giou(predicted, taught.boxes_xyxy)) * seen
    return (ops.sum(each) + ops.sum(boxes)) / normaliser
