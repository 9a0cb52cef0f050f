import math
from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from fcoslite.fcos.locations import locations_of
from fcoslite.fcos.targets import Targets
from fcoslite.fcos.teaching import Taught, believed, teaching_loss, with_doubted_background

LOCATIONS = locations_of(32, (8, 16))  # 16 and 4
COUNT = len(LOCATIONS)


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def _outputs(score: float, quality: float = 1 - 1e-7) -> dict:
    return {
        "class_logits": np.full((1, COUNT, 1), _logit(score), np.float32),
        "distances": np.ones((1, COUNT, 4), np.float32),
        "quality_logits": np.full((1, COUNT, 1), _logit(quality), np.float32),
    }


def _taught(score: float, **changes) -> Taught:
    step = LOCATIONS.strides[:, None]
    boxes = np.concatenate([LOCATIONS.points - step, LOCATIONS.points + step], axis=1)[None]
    known = np.ones((1, COUNT), np.float32)
    return replace(Taught(np.full((1, COUNT, 1), score, np.float32), boxes.astype(np.float32), known), **changes)


def _targets() -> Targets:
    """All background but the first location."""
    first = np.zeros((1, COUNT), np.float32)
    first[0, 0] = 1
    four, one = np.zeros((1, COUNT, 4), np.float32), first[..., None]
    return Targets(one, four, one, first, first, np.ones((1, COUNT), np.float32))


EVERYWHERE = np.ones((1, COUNT), np.float32)


def _loss(outputs, taught, weight=EVERYWHERE) -> float:
    return float(ops.convert_to_numpy(teaching_loss(outputs, taught, weight, LOCATIONS)))


def test_a_student_that_says_the_same_has_nothing_to_learn():
    assert _loss(_outputs(0.8), _taught(0.8)) == pytest.approx(0, abs=1e-5)
    # class and quality together are the teacher's score
    assert _loss(_outputs(0.8, quality=0.5), _taught(0.4)) == pytest.approx(0, abs=1e-5)
    assert _loss(_outputs(0.8), _taught(0.5)) > 0.01


def test_scores_and_boxes_by_hand():
    # 0.3 off everywhere, with the cross-entropy of 0.2 against 0.5; divided by the sum of the scores
    cross_entropy = -(0.2 * math.log(0.5) + 0.8 * math.log(0.5))
    assert _loss(_outputs(0.5), _taught(0.2)) == pytest.approx(0.09 * cross_entropy / 0.2, rel=1e-4)
    # boxes of half the width: GIoU is IoU, 1/2
    half = _outputs(0.8)
    half["distances"] = np.tile(np.float32([0.5, 1, 0.5, 1]), (1, COUNT, 1))
    assert _loss(half, _taught(0.8)) == pytest.approx(0.5, abs=1e-4)
    # a teacher that sees nothing has no boxes to teach, whatever they are
    assert _loss(half, _taught(0.05)) == pytest.approx(_loss(_outputs(0.8), _taught(0.05)), rel=1e-6)


def test_a_level_that_the_teacher_lacks_teaches_nothing():
    known = np.zeros((1, COUNT), np.float32)
    known[:, LOCATIONS.levels[0]] = 1
    taught, outputs = _taught(0.8, known=known), _outputs(0.8)
    outputs["class_logits"][:, LOCATIONS.levels[1]] = -9
    outputs["distances"][:, LOCATIONS.levels[1]] = 9
    believed_ = believed(taught, np.float32([[[1, 0, 0, 32, 32, 0.5]]]), _targets(), LOCATIONS)
    assert _loss(outputs, believed_) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("boxes", "outside"),
    [
        ([[1, 0, 0, 12, 12, 0.0]], 0.0),  # a person drew all there are
        ([[1, 0, 0, 12, 12, 0.0], [0, 0, 0, 0, 0, 0]], 0.0),
        ([[1, 0, 0, 12, 12, 0.0], [1, 16, 16, 30, 30, 0.4]], 0.7),  # a detector drew some
        ([[1, 0, 0, 12, 12, 0.0], [0, 16, 16, 30, 30, 0.9]], 0.7),  # of too low a score to be learned
        ([[1, 0, 0, 12, 12, 0.0], [0, 0, 0, 0, 0, 1.0]], 0.0),  # padding of a batch
        ([[0, 0, 0, 0, 0, 0]], 0.7),  # nobody looked, or there is nobody
        ([[1, 0, 0, 12, 12, 1.0]], 0.7),
    ],
)
def test_what_people_drew_is_believed_before_the_teacher(boxes, outside):
    scores = ops.convert_to_numpy(believed(_taught(0.7), np.float32([boxes]), _targets(), LOCATIONS).scores)[0, :, 0]
    assert scores[0] == pytest.approx(0.7)  # at (4, 4), within the box
    assert scores[3] == pytest.approx(outside)  # at (28, 4)


def test_where_the_teacher_sees_somebody_is_less_of_a_background():
    for score, left in ((0.0, 1.0), (0.06, 0.6), (0.3, 0.0)):
        weight = ops.convert_to_numpy(with_doubted_background(_targets(), _taught(score)).class_weight)[0]
        assert weight[0] == 1  # it has a box
        np.testing.assert_allclose(weight[1:], left, atol=1e-6)


def test_in_a_crowd_nobody_knows():
    nowhere = replace(_targets(), class_weight=np.zeros((1, COUNT), np.float32))
    taught = believed(_taught(0.7), np.float32([[[1, 0, 0, 32, 32, 1]]]), nowhere, LOCATIONS)
    assert ops.convert_to_numpy(taught.scores).max() == 0
    assert _loss(_outputs(0.9), taught, nowhere.class_weight) == 0
