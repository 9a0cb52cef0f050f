import math

import keras
import numpy as np
import pytest
from keras import ops

from fcoslite.config import ScheduleSettings
from fcoslite.training.optimizer import build_optimizer
from fcoslite.training.schedule import WarmupCosine


def _schedule(**settings) -> ScheduleSettings:
    return ScheduleSettings.model_validate(
        {"lr_start": 0.1, "lr_max": 0.1, "lr_min": 0.1, "warmup_steps": 0} | settings
    )


def _rate(schedule: WarmupCosine, step: int) -> float:
    return float(ops.convert_to_numpy(schedule(step)))


def test_the_missions_schedule():
    steps = 30 * 2500
    schedule = WarmupCosine(ScheduleSettings(), steps)
    assert _rate(schedule, 0) == pytest.approx(2.5e-7)
    assert _rate(schedule, 2500) == pytest.approx((2.5e-7 + 5e-5) / 2, rel=1e-4)
    assert _rate(schedule, 5000) == pytest.approx(5e-5)
    middle = 5000 + (steps - 5000) // 2
    assert _rate(schedule, middle) == pytest.approx(2.5e-7 + (5e-5 - 2.5e-7) / 2, rel=1e-3)
    assert _rate(schedule, steps) == pytest.approx(2.5e-7)
    assert _rate(schedule, 2 * steps) == pytest.approx(2.5e-7)


def test_a_short_run_still_reaches_the_top():
    schedule = WarmupCosine(ScheduleSettings(), 300)
    assert schedule.warmup_steps == 30
    assert max(_rate(schedule, step) for step in range(300)) == pytest.approx(5e-5)


class Pair(keras.Model):
    """Two variables whose gradients are given: loss = sum(weight · input)."""

    def __init__(self):
        super().__init__()
        self.body = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="backbone_x")
        self.head = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="head_x")
        self.body.build((None, 2))
        self.head.build((None, 2))
        self.built = True

    def call(self, x):
        return self.body(x) + self.head(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.sum(y_pred, axis=-1))


def _fit(batches, **options):
    settings = _schedule(**options.pop("schedule", {}))
    model = Pair()
    model.compile(optimizer=build_optimizer(settings, options["accumulation"], 100), jit_compile=False)
    for batch in batches:
        model.train_on_batch(np.array(batch, np.float32))
    return np.asarray(model.body.kernel).ravel(), np.asarray(model.head.kernel).ravel(), model


def _adamw(gradients, rate, decay, clip):
    """AdamW from the paper, on a weight vector of ones, both layers' gradients clipped by their global norm."""
    weight, m, v = np.ones(2), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(gradients, start=1):
        gradient = np.array(gradient, float)
        norm = math.sqrt(2 * (gradient**2).sum())  # body and head get the same
        gradient = gradient * min(1.0, clip / norm)
        weight = weight - rate * decay * weight
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        weight = weight - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-7)
    return weight


def test_adamw_step_decay_and_backbone_factor():
    schedule = {"weight_decay": 0.5, "backbone_lr_factor": 0.1, "clip_norm": 1.0}
    gradients = [[3.0, 4.0], [0.1, -0.2], [1.0, 0.0]]
    body, head, _ = _fit([[g] for g in gradients], accumulation=1, schedule=schedule)
    np.testing.assert_allclose(head, _adamw(gradients, 0.1, 0.5, 1.0), rtol=1e-4)
    np.testing.assert_allclose(body, _adamw(gradients, 0.01, 0.5, 1.0), rtol=1e-4)


def test_accumulation_averages_clips_once_and_drops_nothing():
    batches = [[[3.0, 4.0]], [[1.0, 0.0]], [[0.0, 2.0]], [[30.0, 0.0]]]
    schedule = {"weight_decay": 0.0, "clip_norm": 2.0}
    body, head, model = _fit(batches, accumulation=2, schedule=schedule)
    averaged = [[2.0, 2.0], [15.0, 1.0]]
    np.testing.assert_allclose(head, _adamw(averaged, 0.1, 0.0, 2.0), rtol=1e-4)
    np.testing.assert_allclose(body, head)
    # nine batches with accumulation of eight: the ninth waits in the accumulators, it is not lost
    _, _, model = _fit([[[1.0, 1.0]]] * 9, accumulation=8, schedule=schedule)
    waiting = [np.asarray(v) for v in model.optimizer.variables if "accumulator" in v.path]
    assert len(waiting) == 2
    assert all((value == 1).all() for value in waiting)


def test_a_non_finite_gradient_skips_the_step_under_loss_scaling():
    model = Pair()
    inner = build_optimizer(_schedule(), 1, 100)
    model.compile(optimizer=keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0), jit_compile=False)
    model.train_on_batch(np.array([[np.inf, 1.0]], np.float32))
    assert (np.asarray(model.head.kernel) == 1).all()
    assert float(np.asarray(model.optimizer.dynamic_scale)) == 2.0
    model.train_on_batch(np.array([[1.0, 1.0]], np.float32))
    assert (np.asarray(model.head.kernel) != 1).all()
