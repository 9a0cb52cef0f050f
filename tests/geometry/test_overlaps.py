import numpy as np

from fcoslite.geometry.overlaps import pairwise_iou

A = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
B = np.array([[0, 0, 10, 20], [0, 0, 10, 10]], np.float32)


def test_iou_and_shares_of_the_first() -> None:
    np.testing.assert_allclose(pairwise_iou(A, B, np.zeros(2, bool)), [[1 / 2, 1], [50 / 250, 50 / 150], [0, 0]])
    np.testing.assert_allclose(pairwise_iou(A, B, np.array([True, False])), [[1, 1], [1 / 2, 50 / 150], [0, 0]])


def test_none() -> None:
    assert pairwise_iou(A, B[:0], np.zeros(0, bool)).shape == (3, 0)
    assert pairwise_iou(A[:0], B, np.zeros(2, bool)).shape == (0, 2)
