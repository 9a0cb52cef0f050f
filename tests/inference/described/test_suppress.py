import numpy as np
import pytest

from fcoslite.inference.described.suppress import suppress


def plainly(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float) -> list[int]:
    kept: list[int] = []
    for row in sorted(range(len(boxes)), key=lambda row: -scores[row]):
        for other in kept:
            x = max(0.0, min(boxes[row, 2], boxes[other, 2]) - max(boxes[row, 0], boxes[other, 0]))
            y = max(0.0, min(boxes[row, 3], boxes[other, 3]) - max(boxes[row, 1], boxes[other, 1]))
            areas = sum((boxes[each, 2] - boxes[each, 0]) * (boxes[each, 3] - boxes[each, 1]) for each in (row, other))
            if classes[row] == classes[other] and x * y / (areas - x * y) > iou:
                break
        else:
            kept.append(row)
    return kept


@pytest.mark.parametrize("classes", [1, 3])
def test_it_is_the_plain_loop(classes: int) -> None:
    random = np.random.default_rng(classes)
    corners = random.uniform(0, 40, (200, 2))
    boxes = np.concatenate([corners, corners + random.uniform(5, 40, (200, 2))], axis=1)
    scores, ids = random.random(200), random.integers(0, classes, 200)
    kept = suppress(boxes, scores, ids, 0.4, 1000)
    assert kept.tolist() == plainly(boxes, scores, ids, 0.4)
    assert suppress(boxes, scores, ids, 0.4, 7).tolist() == kept[:7].tolist()


def test_none() -> None:
    assert suppress(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), 0.5, 10).tolist() == []
