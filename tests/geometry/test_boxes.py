import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import ops

from fcoslite.geometry.boxes import giou, iou, ltrb_to_xyxy, take_rows

corners = hnp.arrays(np.float32, (4, 2), elements=st.floats(0, 512, width=16))


def _boxes(points: np.ndarray) -> np.ndarray:
    return np.concatenate([np.minimum(points[:2], points[2:]), np.maximum(points[:2], points[2:]) + 1], axis=1)


def test_iou_and_giou_by_hand():
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[5, 0, 15, 10]], np.float32)  # overlap 50, union 150, enclosing 150
    c = np.array([[20, 0, 30, 10]], np.float32)  # no overlap, union 200, enclosing 300
    np.testing.assert_allclose(ops.convert_to_numpy(iou(a, b)), [1 / 3], atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(giou(a, b)), [1 / 3], atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(giou(a, c)), [-1 / 3], atol=1e-6)


@given(corners)
def test_iou_bounds(points):
    boxes = _boxes(points)
    overlap = ops.convert_to_numpy(iou(boxes[:1], boxes[1:]))
    generalised = ops.convert_to_numpy(giou(boxes[:1], boxes[1:]))
    assert 0 <= overlap <= 1
    assert -1 - 1e-5 <= generalised <= overlap + 1e-5
    np.testing.assert_allclose(ops.convert_to_numpy(iou(boxes, boxes)), 1, atol=1e-5)


@given(corners, hnp.arrays(np.float32, (2, 2), elements=st.floats(0, 512, width=16)))
def test_distances_round_trip(points, at):
    boxes = _boxes(points)
    distances = np.concatenate([at - boxes[..., :2], boxes[..., 2:] - at], axis=-1)
    again = ops.convert_to_numpy(ltrb_to_xyxy(at, distances))
    np.testing.assert_allclose(again, boxes, atol=1e-3)


def test_rows_of_each_image():
    rng = np.random.default_rng(0)
    values, index = rng.normal(size=(3, 7, 4)).astype(np.float32), rng.integers(0, 7, (3, 5)).astype(np.int32)
    taken = ops.convert_to_numpy(take_rows(values, index))
    np.testing.assert_array_equal(taken, np.take_along_axis(values, index[..., None], axis=1))
