import numpy as np
import pytest

from fcoslite.fcos.nms import non_max_suppression


def plainly(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float) -> dict[int, int]:
    """By which box, itself if it stays, each one is suppressed."""
    by: dict[int, int] = {}
    for row in sorted(range(len(boxes)), key=lambda row: -scores[row]):
        for other in [kept for kept in by if by[kept] == kept]:
            x = max(0.0, min(boxes[row, 2], boxes[other, 2]) - max(boxes[row, 0], boxes[other, 0]))
            y = max(0.0, min(boxes[row, 3], boxes[other, 3]) - max(boxes[row, 1], boxes[other, 1]))
            areas = sum((boxes[each, 2] - boxes[each, 0]) * (boxes[each, 3] - boxes[each, 1]) for each in (row, other))
            if classes[row] == classes[other] and x * y / (areas - x * y) > iou:
                by[row] = other
                break
        else:
            by[row] = row
    return by


def _boxes(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 80, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(5, 60, (count, 2))], axis=1)
    return boxes.astype(np.float32), random.random(count).astype(np.float32), random.integers(0, classes, count)


@pytest.mark.parametrize("count", [1, 200, 600])  # more than are compared at a time
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("iou", [0.0, 0.4, 0.9])
def test_it_is_the_plain_loop(count: int, classes: int, iou: float) -> None:
    boxes, scores, ids = _boxes(count + classes, count, classes)
    kept, by = non_max_suppression(boxes, scores, ids, iou, 1000)
    expected = plainly(boxes.astype(np.float64), scores, ids, iou)
    assert kept.tolist() == [row for row, winner in expected.items() if row == winner]  # best first, as they came
    assert by.tolist() == [expected[row] for row in range(count)]
    fewer = non_max_suppression(boxes, scores, ids, iou, 7)
    assert fewer.kept.tolist() == kept[:7].tolist()
    assert fewer.by.tolist() == [row if row in fewer.kept else -1 for row in by]


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_tensorflow(seed: int) -> None:
    import tensorflow as tf

    boxes, scores, ids = _boxes(seed, 400, 1)
    expected = tf.image.non_max_suppression(boxes, scores, 100, 0.5).numpy()
    assert non_max_suppression(boxes, scores, ids, 0.5, 100).kept.tolist() == expected.tolist()


def test_of_equal_boxes_the_first_stays() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    assert non_max_suppression(boxes, np.full(3, 0.5), np.zeros(3, int), 0.9, 10).kept.tolist() == [0]


def test_none() -> None:
    assert non_max_suppression(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), 0.5, 10).kept.tolist() == []
