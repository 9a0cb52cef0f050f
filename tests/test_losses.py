import math
from dataclasses import fields

import keras
import numpy as np
import pytest
from keras import ops

from fcoslite.assignment import Targets, assign
from fcoslite.boxes import grid_points
from fcoslite.config import LossSettings, ModelSettings
from fcoslite.losses import box_loss_each, compute_losses, focal_loss
from fcoslite.models.detector import build_detector
from fcoslite.models.presets import PRESETS


def _number(value) -> float:
    return float(ops.convert_to_numpy(value))


def test_focal_loss_by_hand():
    # logit 0: p = 0.5, cross-entropy log 2, weight 0.5^2, balance 0.25 for a positive and 0.75 for a negative
    logits = np.zeros((2,), np.float32)
    values = ops.convert_to_numpy(focal_loss(logits, np.array([1, 0], np.float32), 0.25, 2.0))
    np.testing.assert_allclose(values, [0.25 * 0.25 * math.log(2), 0.75 * 0.25 * math.log(2)], rtol=1e-5)
    # logit log 3: p = 0.75
    value = focal_loss(np.float32([math.log(3)]), np.float32([1]), 0.25, 2.0)
    np.testing.assert_allclose(ops.convert_to_numpy(value), [0.25 * 0.0625 * -math.log(0.75)], rtol=1e-5)


def test_focal_loss_of_extreme_logits_is_finite():
    values = focal_loss(np.float32([-1e4, 1e4, -1e4, 1e4]), np.float32([1, 1, 0, 0]), 0.25, 2.0)
    np.testing.assert_allclose(ops.convert_to_numpy(values), [2500, 0, 0, 7500], rtol=1e-5, atol=1e-6)


def test_box_losses_by_hand():
    a, b = np.float32([[0, 0, 10, 10]]), np.float32([[5, 0, 15, 10]])
    assert _number(box_loss_each(a, b, "giou")[0]) == pytest.approx(2 / 3, abs=1e-5)
    assert _number(box_loss_each(a, b, "iou")[0]) == pytest.approx(math.log(3), abs=1e-5)
    far = np.float32([[1000, 1000, 1001, 1001]])
    assert 1.9 < _number(box_loss_each(a, far, "giou")[0]) <= 2


def _two_locations() -> tuple[dict, Targets, np.ndarray, np.ndarray]:
    """One positive whose box is half right, one background, stride 10."""
    points, strides = np.float32([[5, 5], [15, 5]]), np.float32([10, 10])
    outputs = {
        "class_logits": np.zeros((1, 2, 1), np.float32),
        "distances": np.float32([[[0.5, 0.5, 0.5, 0.5], [1, 1, 1, 1]]]),  # box 0, 0, 10, 10
        "centerness_logits": np.zeros((1, 2, 1), np.float32),
    }
    targets = Targets(
        classes=np.float32([[[1], [0]]]),
        distances=np.float32([[[0.5, 0.5, 1.5, 0.5], [0, 0, 0, 0]]]),  # box 0, 0, 20, 10: IoU 1/2
        centerness=np.float32([[[math.sqrt(1 / 3)], [0]]]),
        positive=np.float32([[1, 0]]),
        class_weight=np.float32([[1, 1]]),
    )
    return outputs, targets, points, strides


def test_all_losses_by_hand():
    outputs, targets, points, strides = _two_locations()
    losses = compute_losses(outputs, targets, points, strides, LossSettings(centerness_weight=2.0))
    assert _number(losses.classes) == pytest.approx((0.25 + 0.75) * 0.25 * math.log(2), rel=1e-4)
    assert _number(losses.boxes) == pytest.approx(0.5, abs=1e-5)
    # logit 0: cross-entropy log 2 whatever the target; the sum of the targets is below 1, so 1 divides
    assert _number(losses.centerness) == pytest.approx(math.log(2), rel=1e-4)
    total = _number(losses.classes) + _number(losses.boxes) + 2 * _number(losses.centerness)
    assert _number(losses.total) == pytest.approx(total, rel=1e-5)


def test_background_in_a_crowd_costs_nothing():
    outputs, targets, points, strides = _two_locations()
    parts = {field.name: getattr(targets, field.name) for field in fields(targets)}
    crowded = Targets(**{**parts, "class_weight": np.float32([[1, 0]])})
    losses = compute_losses(outputs, crowded, points, strides, LossSettings())
    assert _number(losses.classes) == pytest.approx(0.25 * 0.25 * math.log(2), rel=1e-4)


def test_a_batch_without_boxes_has_finite_losses_and_gradients():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients with TensorFlow's tape")
    import tensorflow as tf

    detector = build_detector(ModelSettings(image_size=64, head_depth=1), seed=0)
    architecture = PRESETS["lite"]
    boxes, mask = np.zeros((1, 1, 5), np.float32), np.zeros((1, 1), bool)
    with tf.GradientTape() as tape:
        outputs = detector.network(np.random.default_rng(0).random((1, 64, 64, 3), np.float32))
        targets = assign(boxes, mask, mask, architecture, 64, 1)
        losses = compute_losses(outputs, targets, *grid_points(64, architecture.strides), LossSettings())
    gradients = tape.gradient(losses.total, [v.value for v in detector.network.trainable_variables])
    assert np.isfinite(_number(losses.total))
    assert _number(losses.boxes) == _number(losses.centerness) == 0
    assert all(np.isfinite(g.numpy()).all() for g in gradients if g is not None)
