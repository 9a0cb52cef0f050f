import numpy as np

from fcoslite.config.settings import DetectSettings
from fcoslite.fcos.postprocess import postprocess


def _apart(count: int) -> np.ndarray:
    """Boxes that do not touch, [count, 4]."""
    corners = np.stack([np.arange(count) % 100 * 10, np.arange(count) // 100 * 10], axis=1).astype(np.float32)
    return np.concatenate([corners, corners + 5], axis=1)


def test_scores_above_the_threshold_stay_best_first() -> None:
    scores = np.array([[0.2, 0.9], [0.5, 0.1], [0.5001, 0.3]], np.float32)
    found = postprocess(_apart(3), scores, DetectSettings(score=0.5))
    assert found.class_ids.tolist() == [2, 1]
    np.testing.assert_array_equal(found.scores, scores[[0, 2], [1, 0]])
    np.testing.assert_array_equal(found.boxes_xyxy, _apart(3)[[0, 2]])
    assert found.class_ids.dtype == np.int32


def test_equal_boxes_of_two_classes_both_stay() -> None:
    found = postprocess(_apart(1), np.array([[0.4, 0.6]]), DetectSettings())
    assert found.class_ids.tolist() == [2, 1]


def test_a_box_that_overlaps_a_better_one_goes() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4]], np.float32)  # IoU with the first: .8, .4
    assert len(postprocess(boxes, np.array([[0.9], [0.8], [0.7]]), DetectSettings(iou=0.75)).scores) == 2
    assert len(postprocess(boxes, np.array([[0.9], [0.8], [0.7]]), DetectSettings(iou=0.85)).scores) == 3


def test_at_most_max_detections() -> None:
    scores = np.linspace(0.1, 0.9, 300, dtype=np.float32)[:, None]
    found = postprocess(_apart(300), scores, DetectSettings(max_detections=10))
    np.testing.assert_array_equal(found.scores, scores[::-1][:10, 0])


def test_the_best_candidates_reach_nms() -> None:
    scores = np.random.default_rng(0).uniform(0.1, 0.9, (3000, 2)).astype(np.float32)
    found = postprocess(_apart(3000), scores, DetectSettings(max_detections=10_000))
    np.testing.assert_array_equal(found.scores, np.sort(scores.ravel())[::-1][:5000])


def test_scores_below_a_thousandth_and_nan_never_reach_nms() -> None:
    scores = np.array([[0.0009], [0.0011], [np.nan]], np.float32)
    assert postprocess(_apart(3), scores, DetectSettings(score=0.0)).scores.tolist() == scores[1].tolist()


def test_nothing_is_found_where_there_is_nothing() -> None:
    found = postprocess(_apart(5), np.zeros((5, 3), np.float32), DetectSettings())
    assert [len(each) for each in found] == [0, 0, 0]
    assert found.boxes_xyxy.shape == (0, 4)
