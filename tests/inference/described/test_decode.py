"""Decoding on outputs that are written by hand; the boxes they stand for are worked out beside them."""

import numpy as np
import pytest

from fcoslite.errors import ConfigError
from fcoslite.inference.described.decode import decode_boxes, decode_dense
from fcoslite.inference.described.description import (
    BoxOutputs,
    DenseOutputs,
    packaged_descriptions,
    read_description,
)

SIZE = 64


def logit(score: float) -> float:
    return float(np.log(score / (1 - score)))


def dense(name: str) -> DenseOutputs:
    form = read_description(packaged_descriptions()[name]).dense
    assert form is not None
    return form


def boxes(name: str) -> BoxOutputs:
    form = read_description(packaged_descriptions()[name]).boxes
    assert form is not None
    return form


def rtmdet_maps() -> dict[str, np.ndarray]:
    maps = {str(stride): np.full((1, SIZE // stride, SIZE // stride, 5), -9, np.float32) for stride in (8, 16, 32)}
    maps["8"][0, 2, 5] = [logit(0.8), 3, 4, 5, 6]  # at x 40, y 16
    maps["32"][0, 1, 0] = [logit(0.3), 0, 10, 20, 30]  # at x 0, y 32
    return maps


def test_rtmdet() -> None:
    found, scores, places = decode_dense(rtmdet_maps(), SIZE, dense("rtmdet"), [0], 0.05)
    np.testing.assert_allclose(found, [[37, 12, 45, 22], [0, 22, 20, 62]])
    np.testing.assert_allclose(scores, [0.8, 0.3], rtol=1e-6)
    assert places.tolist() == [0, 0]
    assert len(decode_dense(rtmdet_maps(), SIZE, dense("rtmdet"), [0], 0.5)[0]) == 1


def test_channels_first_half_a_stride_in_and_distances_in_strides() -> None:
    form = dense("rtmdet").model_copy(update={"layout": "nchw", "first_point": 0.5, "box": "sides-strides"})
    maps = {name: array.transpose(0, 3, 1, 2) for name, array in rtmdet_maps().items()}
    found, _, _ = decode_dense(maps, SIZE, form, [0], 0.05)
    first = [44 - 3 * 8, 20 - 4 * 8, 44 + 5 * 8, 20 + 6 * 8]
    np.testing.assert_allclose(found, [first, [16, 48 - 10 * 32, 16 + 20 * 32, 48 + 30 * 32]])


def yolox_rows() -> np.ndarray:
    """85 channels of 64 + 16 + 4 points."""
    rows = np.zeros((1, 84, 85), np.float32)
    rows[0, 8 * 2 + 3, :5] = [0.5, 0.25, np.log(2), np.log(3), 0.9]  # of stride 8: x 24, y 16
    rows[0, 8 * 2 + 3, 5] = 0.8  # person
    rows[0, 8 * 2 + 3, 6] = 0.9  # bicycle
    rows[0, 64 + 4 * 1 + 2, :6] = [0, 0, 0, 0, 0.5, 0.6]  # of stride 16: x 32, y 16
    rows[0, 64 + 16, :6] = [0, 0, 0, 0, 0.1, 0.1]  # too little
    return rows


def test_yolox() -> None:
    found, scores, places = decode_dense({"output": yolox_rows()}, SIZE, dense("yolox"), [0], 0.05)
    # centre (28, 18), 16 x 24; centre (32, 16), 16 x 16
    np.testing.assert_allclose(found, [[20, 6, 36, 30], [24, 8, 40, 24]], rtol=1e-6)
    np.testing.assert_allclose(scores, [0.72, 0.3], rtol=1e-6)
    assert places.tolist() == [0, 0]


def test_yolox_of_two_classes_and_decoded() -> None:
    form = dense("yolox").model_copy(update={"box": "centre-pixels"})
    rows = yolox_rows()
    rows[0, 8 * 2 + 3, :4] = [28, 18, 16, 24]
    found, scores, places = decode_dense({"output": rows}, SIZE, form, [1, 0], 0.5)
    np.testing.assert_allclose(found, [[20, 6, 36, 30]] * 2)
    np.testing.assert_allclose(scores, [0.81, 0.72], rtol=1e-6)
    assert places.tolist() == [0, 1]


def test_a_width_beyond_all_bounds_is_no_overflow() -> None:
    rows = yolox_rows()
    rows[0, 8 * 2 + 3, 2] = 1e30
    with np.errstate(all="raise"):
        found, _, _ = decode_dense({"output": rows}, SIZE, dense("yolox"), [0], 0.5)
    assert np.isfinite(found).all()


COUNTED = BoxOutputs(rows="detections", count="count")


def test_rows_with_a_count() -> None:
    detections = np.zeros((1, 100, 6), np.float32)
    detections[0, 0] = [1, 2, 30, 40, 0.9, 1]
    detections[0, 1] = [5, 6, 7, 8, 0.5, 2]  # another class
    detections[0, 2] = [5, 6, 7, 8, 0.9, 1]  # behind the count
    outputs = {"count": np.array([2], np.int32), "detections": detections}
    found, scores, places = decode_boxes(outputs, COUNTED, [1], 0.05)
    np.testing.assert_allclose(found, [[1, 2, 30, 40]])
    np.testing.assert_allclose(scores, [0.9])
    assert places.tolist() == [0]


def test_mmdeploy() -> None:
    rows = np.array([[[1, 2, 3, 4, 0.9], [5, 6, 7, 8, 0.8], [5, 6, 7, 8, 0.01]]], np.float32)
    outputs = {"dets": rows, "labels": np.array([[0, 7, 0]], np.int64)}
    found, scores, _ = decode_boxes(outputs, boxes("rtmdet-mmdeploy"), [0], 0.05)
    np.testing.assert_allclose(found, [[1, 2, 3, 4]])
    np.testing.assert_allclose(scores, [0.9])


def test_nothing_found() -> None:
    found, scores, places = decode_dense(rtmdet_maps(), SIZE, dense("rtmdet"), [0], 0.95)
    assert found.shape == (0, 4) and scores.shape == places.shape == (0,)


@pytest.mark.parametrize(
    ("outputs", "form", "message"),
    [
        ({"a": np.zeros((1, 83, 85))}, "yolox", r"\[1, 83, 85\], and are described as one of \[1, 84, channels\]"),
        ({"a": np.zeros((1, 84, 5))}, "yolox", "channel 5 is described, and the outputs have 5"),
        ({"a": np.zeros((1, 84, 85)), "b": np.zeros(1)}, "yolox", "described as one of"),
        ({"a": np.zeros((1, 8, 8, 5))}, "rtmdet", "maps of 8 x 8, 4 x 4, 2 x 2"),
        ({"a": np.zeros(7)}, "rtmdet", "maps of"),
    ],
)
def test_outputs_of_another_shape_than_described(outputs: dict[str, np.ndarray], form: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decode_dense(outputs, SIZE, dense(form), [0], 0.05)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"boxes": np.zeros((1, 3, 6))}, "'detections' is described, and there is none"),
        ({"detections": np.zeros((1, 3, 5)), "count": np.zeros(1)}, r"\[1, K, 6\]"),
        ({"detections": np.zeros((1, 3, 6)), "count": np.array([4])}, "do not agree"),
        ({"detections": np.zeros((1, 3, 6)), "count": np.array([-1])}, "do not agree"),
    ],
)
def test_boxes_of_another_shape_than_described(outputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decode_boxes(outputs, COUNTED, [1], 0.05)
