import numpy as np
import pytest

from fcoslite.fcos.box_voting import vote
from fcoslite.fcos.nms import non_max_suppression
from fcoslite.geometry.overlaps import paired_iou, pairwise_iou


def test_a_box_moves_to_the_mean_of_those_that_agree() -> None:
    boxes = np.array([[0, 0, 100, 100], [0, 0, 100, 90], [0, 0, 100, 60], [300, 0, 310, 10]], np.float32)
    scores = np.array([0.8, 0.6, 0.5, 0.4], np.float32)
    suppressed = non_max_suppression(boxes, scores, np.zeros(4, int), 0.5, 10)
    assert suppressed.kept.tolist() == [0, 3]
    agreeing = 0.6 * np.exp(-(0.1**2) / 0.025)  # the second; the third overlaps by 0.6 only
    bottom = (0.8 * 100 + agreeing * 90) / (0.8 + agreeing)
    np.testing.assert_allclose(vote(boxes, scores, suppressed), [[0, 0, 100, bottom], [300, 0, 310, 10]], rtol=1e-6)


def test_those_of_a_box_beyond_the_most_have_no_voice() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 20, 40, 40], [21, 20, 41, 40]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    suppressed = non_max_suppression(boxes, scores, np.zeros(3, int), 0.5, 1)
    np.testing.assert_array_equal(vote(boxes, scores, suppressed), boxes[:1])


@pytest.mark.parametrize("most", [3, 1000])
def test_many_boxes(most: int) -> None:
    random = np.random.default_rng(most)
    centres = random.uniform(50, 400, (12, 1, 4)).astype(np.float32)
    centres[..., 2:] = centres[..., :2] + random.uniform(30, 90, (12, 1, 2))
    boxes = (centres + random.normal(0, 3, (12, 30, 4))).reshape(-1, 4).astype(np.float32)
    scores, classes = random.uniform(0.1, 0.9, 360).astype(np.float32), np.repeat([0, 1], 180)
    suppressed = non_max_suppression(boxes, scores, classes, 0.5, most)
    moved = vote(boxes, scores, suppressed)
    assert moved.dtype == np.float32 and moved.shape == (len(suppressed.kept), 4)
    for box, row in zip(moved, suppressed.kept, strict=True):
        heard = boxes[suppressed.by == row]
        assert (heard.min(axis=0) - 1e-3 <= box).all() and (box <= heard.max(axis=0) + 1e-3).all()
    assert most == 3 or np.abs(moved - boxes[suppressed.kept]).max() > 1


def test_a_box_without_an_area_and_no_box() -> None:
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5]], np.float32)
    suppressed = non_max_suppression(boxes, np.ones(2), np.zeros(2, int), 0.5, 10)
    np.testing.assert_array_equal(vote(boxes, np.ones(2), suppressed), boxes)
    nothing = non_max_suppression(boxes[:0], np.ones(0), np.zeros(0, int), 0.5, 10)
    assert vote(boxes[:0], np.ones(0), nothing).shape == (0, 4)


def test_paired_is_the_diagonal_of_pairwise() -> None:
    corners = np.random.default_rng(0).uniform(0, 50, (2, 40, 2))
    a, b = np.concatenate([corners, corners + np.random.default_rng(1).uniform(0, 50, (2, 40, 2))], axis=2)
    np.testing.assert_allclose(paired_iou(a, b), np.diag(pairwise_iou(a, b, np.zeros(40, bool))), atol=1e-9)
