import math
from dataclasses import fields

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from fcoslite.config.settings import LossSettings, ModelSettings
from fcoslite.fcos.ground_truth import unpack
from fcoslite.fcos.locations import Locations, locations_of
from fcoslite.fcos.losses import (
    binary_cross_entropy,
    box_loss_each,
    compute_losses,
    detection_losses,
    distribution_focal_loss,
    focal_loss,
    quality_focal_loss,
)
from fcoslite.fcos.targets import Targets, assign
from fcoslite.geometry.boxes import iou, ltrb_to_xyxy
from fcoslite.models.detector import build_detector, loss_network
from fcoslite.models.head import DISTANCE_LOGITS
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


def test_quality_focal_loss_by_hand():
    # logit 0: p = 0.5, cross-entropy log 2 whatever the target, weight (target - 0.5)^2
    values = ops.convert_to_numpy(quality_focal_loss(np.zeros(4, np.float32), np.float32([0, 0.25, 0.5, 0.9]), 2.0))
    np.testing.assert_allclose(values, np.array([0.25, 0.0625, 0, 0.16]) * math.log(2), rtol=1e-5, atol=1e-7)
    # logit log 3: p = 0.75, target 0.5: 0.25^2 · -(log 0.75 + log 0.25) / 2
    value = quality_focal_loss(np.float32([math.log(3)]), np.float32([0.5]), 2.0)
    np.testing.assert_allclose(ops.convert_to_numpy(value), [0.0625 * -math.log(0.75 * 0.25) / 2], rtol=1e-5)
    extreme = quality_focal_loss(np.float32([-1e4, 1e4]), np.float32([1, 0]), 2.0)
    np.testing.assert_allclose(ops.convert_to_numpy(extreme), [1e4, 1e4], rtol=1e-5)


@given(st.lists(st.tuples(st.floats(-20, 20, width=32), st.booleans()), min_size=1, max_size=8), st.floats(0.5, 4))
def test_quality_focal_loss_of_whole_targets_is_the_focal_loss_without_alpha(pairs, gamma):
    logits, targets = np.float32([logit for logit, _ in pairs]), np.float32([target for _, target in pairs])
    focal = 2 * ops.convert_to_numpy(focal_loss(logits, targets, 0.5, gamma))
    quality = ops.convert_to_numpy(quality_focal_loss(logits, targets, gamma))
    np.testing.assert_allclose(quality, focal, rtol=1e-3, atol=1e-6)


def test_quality_focal_loss_is_least_where_the_score_is_the_target():
    targets, scores = np.float32([0.1, 0.5, 0.8])[:, None], np.linspace(0.01, 0.99, 99, dtype=np.float32)
    values = ops.convert_to_numpy(quality_focal_loss(np.log(scores / (1 - scores))[None], targets, 2.0))
    np.testing.assert_allclose(scores[values.argmin(axis=1)], targets[:, 0], atol=1e-6)


def test_box_losses_by_hand():
    a, b = np.float32([[0, 0, 10, 10]]), np.float32([[5, 0, 15, 10]])
    assert _number(box_loss_each(a, b, "giou")[0]) == pytest.approx(2 / 3, abs=1e-5)
    assert _number(box_loss_each(a, b, "iou")[0]) == pytest.approx(math.log(3), abs=1e-5)
    far = np.float32([[1000, 1000, 1001, 1001]])
    assert 1.9 < _number(box_loss_each(a, far, "giou")[0]) <= 2


def _two_locations() -> tuple[dict, Targets, Locations]:
    """One positive whose box is half right, one background, stride 10."""
    points, strides = np.float32([[5, 5], [15, 5]]), np.float32([10, 10])
    locations = Locations(points, strides, np.int32([0, 0]), (slice(0, 2),))
    outputs = {
        "class_logits": np.zeros((1, 2, 1), np.float32),
        "distances": np.float32([[[0.5, 0.5, 0.5, 0.5], [1, 1, 1, 1]]]),  # box 0, 0, 10, 10
        "quality_logits": np.zeros((1, 2, 1), np.float32),
    }
    targets = Targets(
        classes=np.float32([[[1], [0]]]),
        distances=np.float32([[[0.5, 0.5, 1.5, 0.5], [0, 0, 0, 0]]]),  # box 0, 0, 20, 10: IoU 1/2
        centerness=np.float32([[[math.sqrt(1 / 3)], [0]]]),
        positive=np.float32([[1, 0]]),
        weight=np.float32([[1, 0]]),
        class_weight=np.float32([[1, 1]]),
    )
    return outputs, targets, locations


def _losses(quality: str = "centerness", **settings):
    outputs, targets, locations = _two_locations()
    if quality == "none":
        del outputs["quality_logits"]
    return compute_losses(outputs, targets, locations, LossSettings.model_validate(settings), quality)


def test_all_losses_by_hand():
    losses = _losses(quality_weight=2.0, box_weight=3.0)
    assert _number(losses.classes) == pytest.approx((0.25 + 0.75) * 0.25 * math.log(2), rel=1e-4)
    assert _number(losses.boxes) == pytest.approx(0.5, abs=1e-5)
    # logit 0: cross-entropy log 2 whatever the target; the sum of the targets is below 1, so 1 divides
    assert _number(losses.quality) == pytest.approx(math.log(2), rel=1e-4)
    total = _number(losses.classes) + 3 * _number(losses.boxes) + 2 * _number(losses.quality)
    assert _number(losses.total) == pytest.approx(total, rel=1e-5)


def test_class_scores_that_learn_the_overlap():
    # the positive's aim is its IoU, 1/2, which logit 0 says already; the background weighs 0.5^2
    losses = _losses(classes="quality_focal")
    assert _number(losses.classes) == pytest.approx(0.25 * math.log(2), rel=1e-4)


@pytest.mark.parametrize("logit", [0.0, 2.0])
def test_a_quality_that_learns_the_overlap(logit):
    """The positive's is IoU 1/2; the background's logit counts for nothing."""
    outputs, targets, locations = _two_locations()
    outputs["quality_logits"] = np.float32([[[logit], [9.0]]])
    losses = compute_losses(outputs, targets, locations, LossSettings(), "iou")
    expected = _number(binary_cross_entropy(np.float32(logit), np.float32(0.5)))
    assert _number(losses.quality) == pytest.approx(expected, rel=1e-4)
    total = _number(losses.classes) + _number(losses.boxes) + expected
    assert _number(losses.total) == pytest.approx(total, rel=1e-4)


def test_the_overlap_is_averaged_over_the_positives():
    """Twice the same positive: the same loss, though the overlaps sum to no more than 1."""
    outputs, targets, locations = _two_locations()
    twice = {key: np.concatenate([value, value]) for key, value in outputs.items()}
    parts = {field.name: getattr(targets, field.name) for field in fields(targets)}
    doubled = Targets(**{name: np.concatenate([value, value]) for name, value in parts.items()})
    for settings in (LossSettings(), LossSettings(classes="quality_focal")):
        one = compute_losses(outputs, targets, locations, settings, "iou")
        two = compute_losses(twice, doubled, locations, settings, "iou")
        for name in ("classes", "boxes", "quality"):
            assert _number(getattr(two, name)) == pytest.approx(_number(getattr(one, name)), rel=1e-5), name


def test_a_box_that_is_probably_right_weighs_as_much():
    outputs, targets, locations = _two_locations()
    parts = {field.name: getattr(targets, field.name) for field in fields(targets)}
    unsure = Targets(**{**parts, "classes": 0.4 * targets.classes, "weight": 0.4 * targets.weight})
    losses = compute_losses(outputs, unsure, locations, LossSettings(), "iou")
    # p = 0.5: the positive is wrong by 0.1, the background by 0.5; balances 0.4 · 0.25 + 0.6 · 0.75 and 0.75
    assert _number(losses.classes) == pytest.approx((0.55 * 0.01 + 0.75 * 0.25) * math.log(2), rel=1e-4)
    assert _number(losses.boxes) == pytest.approx(0.4 * 0.5, abs=1e-5)
    assert _number(losses.quality) == pytest.approx(0.4 * math.log(2), rel=1e-4)
    # twelve of them: the sum of their probabilities divides
    many = {key: np.concatenate([value] * 12) for key, value in outputs.items()}
    repeated = Targets(**{field.name: np.concatenate([getattr(unsure, field.name)] * 12) for field in fields(unsure)})
    assert _number(compute_losses(many, repeated, locations, LossSettings(), "iou").boxes) == pytest.approx(
        0.5, abs=1e-5
    )


@pytest.mark.parametrize("quality", ["centerness", "iou"])
def test_sure_boxes_cost_what_they_cost_before_there_were_scores(quality):
    """To the bit: the formula of then is written out here."""
    random = np.random.default_rng(0)
    locations = locations_of(128, (8, 16, 32))
    count = len(locations)
    outputs = {
        "class_logits": random.normal(0, 3, (2, count, 1)).astype(np.float32),
        "distances": random.uniform(0.1, 4, (2, count, 4)).astype(np.float32),
        "quality_logits": random.normal(0, 2, (2, count, 1)).astype(np.float32),
    }
    batch = {
        "images": np.zeros((2, 128, 128, 3), np.uint8),
        "boxes": np.float32([[[1, 8, 8, 60, 100], [1, 30, 20, 120, 126]], [[1, 3, 70, 50, 90], [0, 0, 0, 0, 0]]]),
        "crowd": np.array([[False, True], [False, False]]),
        "scores": np.float32([[1, 1], [1, 0]]),
    }
    settings, rule = LossSettings(), PRESETS["lite0"]
    targets = assign(unpack(batch, settings)[1], outputs, rule, locations)
    losses = compute_losses(outputs, targets, locations, settings, quality)

    positive, classes = targets.positive, targets.classes
    positives = ops.maximum(ops.sum(positive), 1.0)
    assert _number(positives) > 5
    step = locations.strides[:, None]
    predicted = ltrb_to_xyxy(locations.points, outputs["distances"] * step)
    wanted = ltrb_to_xyxy(locations.points, targets.distances * step)
    logits, p = outputs["class_logits"], ops.sigmoid(outputs["class_logits"])
    wrong = classes * (1.0 - p) + (1.0 - classes) * p
    balance = classes * 0.25 + (1.0 - classes) * (1.0 - 0.25)
    each = balance * ops.power(wrong, 2.0) * binary_cross_entropy(logits, classes)
    assert _number(losses.classes) == _number(ops.sum(each * targets.class_weight[..., None]) / positives)
    box_loss = ops.sum(box_loss_each(predicted, wanted, "giou") * positive) / positives
    assert _number(losses.boxes) == _number(box_loss)
    aim = targets.centerness if quality == "centerness" else (iou(predicted, wanted) * positive)[..., None]
    normalizer = ops.maximum(ops.sum(aim) + 1e-6, 1.0) if quality == "centerness" else positives
    bce = binary_cross_entropy(outputs["quality_logits"], aim)[..., 0]
    assert _number(losses.quality) == _number(ops.sum(bce * positive) / normalizer)


def test_distribution_focal_loss_by_hand():
    probabilities = np.float32([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.2, 0.6, 0.2], [0.3, 0.3, 0.4]])
    logits = np.log(probabilities).reshape(1, 12) + 5.0
    distances = np.float32([[0.0, 1.75, 0.5, 9.0]])  # at a bin, nearer to one, in the middle, beyond the last
    by_side = [
        -math.log(0.7),
        -0.25 * math.log(0.1) - 0.75 * math.log(0.8),
        -0.5 * math.log(0.2) - 0.5 * math.log(0.6),
        -math.log(0.4),
    ]
    loss = ops.convert_to_numpy(distribution_focal_loss(logits, distances))
    np.testing.assert_allclose(loss, [sum(by_side) / 4], rtol=1e-5)


def test_a_distribution_costs_a_quarter_beside_the_overlap():
    outputs, targets, locations = _two_locations()
    # four bins, each as probable: log 4 whatever the side
    outputs[DISTANCE_LOGITS] = np.zeros((1, 2, 4 * 4), np.float32)
    losses = compute_losses(outputs, targets, locations, LossSettings(), "centerness")
    assert _number(losses.boxes) == pytest.approx(0.5 + math.log(4) / 4, abs=1e-5)


def test_no_quality_no_loss():
    losses, with_quality = _losses("none"), _losses("iou")
    assert _number(losses.quality) == 0
    assert _number(losses.total) == pytest.approx(_number(with_quality.total) - _number(with_quality.quality), rel=1e-5)


def test_background_in_a_crowd_costs_nothing():
    outputs, targets, locations = _two_locations()
    parts = {field.name: getattr(targets, field.name) for field in fields(targets)}
    crowded = Targets(**{**parts, "class_weight": np.float32([[1, 0]])})
    losses = compute_losses(outputs, crowded, locations, LossSettings(), "centerness")
    assert _number(losses.classes) == pytest.approx(0.25 * 0.25 * math.log(2), rel=1e-4)


def _gradients(model: dict, settings: LossSettings, boxes):
    """Losses and gradients of a small detector, with a quiet noise for a picture."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients with TensorFlow's tape")
    import tensorflow as tf

    detector = build_detector(ModelSettings.model_validate({"image_size": 64, "head_depth": 1, **model}), seed=0)
    with tf.GradientTape() as tape:
        outputs = loss_network(detector)(np.random.default_rng(0).random((1, 64, 64, 3), np.float32), training=True)
        losses = detection_losses(outputs, boxes, detector, settings)
    variables = detector.network.trainable_variables
    gradients = tape.gradient(losses.total, [v.value for v in variables])
    return losses, {v.path: g.numpy() for v, g in zip(variables, gradients, strict=True) if g is not None}


MODELS = [
    ({}, {}),
    ({"preset": "lite0"}, {}),
    ({"preset": "lite0", "assignment": "task_aligned", "quality": "none"}, {"classes": "quality_focal"}),
    ({"preset": "lite0", "distance_bins": 17}, {}),
]


@pytest.mark.parametrize(("model", "loss"), MODELS)
def test_a_batch_without_boxes_has_finite_losses_and_gradients(model, loss):
    losses, gradients = _gradients(model, LossSettings.model_validate(loss), np.zeros((1, 1, 6), np.float32))
    assert np.isfinite(_number(losses.total))
    assert _number(losses.boxes) == _number(losses.quality) == 0
    assert gradients
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@pytest.mark.parametrize(("model", "loss"), MODELS)
@pytest.mark.parametrize("side", [(0.0, 0.0), (0.001, 0.9), (1.0, 60.0)], ids=["points", "below-a-pixel", "any"])
def test_500_boxes_and_the_smallest_ones_do_no_harm(model, loss, side):
    random = np.random.default_rng(0)
    corners = random.uniform(0, 60, (500, 2))
    sides = [corners, corners + random.uniform(*side, (500, 2))]
    boxes = np.concatenate([np.ones((500, 1)), *sides, np.zeros((500, 1))], axis=1)
    settings = LossSettings.model_validate(loss)
    losses, gradients = _gradients(model, settings, boxes[None].astype(np.float32))
    # the losses are means: many boxes and odd ones weigh no more than a few
    assert 0 < _number(losses.total) < 20
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    assert sum(float((gradient**2).sum()) for gradient in gradients.values()) ** 0.5 < 1000


@pytest.mark.parametrize(("model", "loss"), MODELS)
def test_a_box_teaches_every_part(model, loss):
    boxes = np.float32([[[1, 8, 8, 56, 60, 0]]])
    losses, gradients = _gradients(model, LossSettings.model_validate(loss), boxes)
    assert np.isfinite(_number(losses.total))
    assert _number(losses.boxes) > 0
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    taught = {path.split("_")[0] for path, gradient in gradients.items() if gradient.any()}
    assert taught == {"backbone", "neck", "head"}
    assert gradients["head_distances/kernel"].any()
    assert ("head_quality_logits/kernel" in gradients) == (model.get("quality") != "none")


def test_overlaps_as_targets_pull_no_box():
    """Else a box would move to where its score is right, instead of the score to where its box is."""
    boxes = np.float32([[[1, 8, 8, 56, 60, 0]]])
    settings = LossSettings(classes="quality_focal", box_weight=0.0)
    _, gradients = _gradients({"preset": "lite0", "quality": "iou"}, settings, boxes)
    assert gradients["head_quality_logits/kernel"].any()
    assert not gradients["head_distances/kernel"].any()
