import math

import keras
import numpy as np
import pytest
from keras import ops

from fcoslite.config.settings import ScheduleSettings, Settings
from fcoslite.errors import RunError
from fcoslite.runs.run import create_run
from fcoslite.training.checkpoint import Position
from fcoslite.training.finite_check import FiniteCheck
from fcoslite.training.optimizer import averaged_weights, build_optimizer, inner_optimizer
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


class Trio(keras.Model):
    """Three variables whose gradients are given: loss = sum(weight · input)."""

    def __init__(self):
        super().__init__()
        # layers of a backbone bear any name
        self.body, self.neck, self.head = (
            keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name=name)
            for name in ("conv1_x", "neck_x", "head_x")
        )
        for layer in (self.body, self.neck, self.head):
            layer.build((None, 2))
        self.built = True

    def call(self, x):
        return self.body(x) + self.neck(x) + self.head(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.sum(y_pred, axis=-1))

    def kernels(self):
        """Of body, neck and head."""
        return [np.array(layer.kernel).ravel() for layer in (self.body, self.neck, self.head)]


def _model(accumulation=1, loss_scale=None, **schedule):
    model = Trio()
    optimizer = build_optimizer(_schedule(**schedule), accumulation, 100)
    if loss_scale is not None:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=loss_scale)
    model.compile(optimizer=optimizer, jit_compile=False)
    optimizer.build(model.trainable_variables)  # as build_training_model does
    return model


def _train(model, batches):
    for batch in batches:
        model.train_on_batch(np.array(batch, np.float32))
    return model


def _adamw(gradients, rate, decay, clip):
    """AdamW from the paper, on a weight vector of ones, all layers' gradients clipped by their global norm."""
    weight, m, v = np.ones(2), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(gradients, start=1):
        gradient = np.array(gradient, float)
        norm = math.sqrt(3 * (gradient**2).sum())  # all three get the same
        gradient = gradient * min(1.0, clip / norm)
        weight = weight - rate * decay * weight
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        weight = weight - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-7)
    return weight


def test_adamw_step_decay_and_a_factor_for_each_part():
    schedule = {"weight_decay": 0.5, "backbone_lr_factor": 0.1, "neck_lr_factor": 0.5, "clip_norm": 1.0}
    gradients = [[3.0, 4.0], [0.1, -0.2], [1.0, 0.0]]
    kernels = _train(_model(**schedule), [[g] for g in gradients]).kernels()
    for kernel, rate in zip(kernels, (0.01, 0.05, 0.1), strict=True):
        np.testing.assert_allclose(kernel, _adamw(gradients, rate, 0.5, 1.0), rtol=1e-4)


def test_a_factor_of_zero_freezes_a_part():
    schedule = {"weight_decay": 0.5, "backbone_lr_factor": 0.0, "neck_lr_factor": 0.0}
    body, neck, head = _train(_model(**schedule), [[[3.0, 4.0]]] * 2).kernels()
    assert (body == 1).all()
    assert (neck == 1).all()
    assert (head != 1).all()


def test_accumulation_averages_clips_once_and_drops_nothing():
    batches = [[[3.0, 4.0]], [[1.0, 0.0]], [[0.0, 2.0]], [[30.0, 0.0]]]
    schedule = {"weight_decay": 0.0, "clip_norm": 2.0}
    averaged = [[2.0, 2.0], [15.0, 1.0]]
    for kernel in _train(_model(accumulation=2, **schedule), batches).kernels():
        np.testing.assert_allclose(kernel, _adamw(averaged, 0.1, 0.0, 2.0), rtol=1e-4)
    # nine batches with accumulation of eight: the ninth waits in the accumulators, it is not lost
    model = _train(_model(accumulation=8, **schedule), [[[1.0, 1.0]]] * 9)
    waiting = [np.asarray(value) for value in model.optimizer.of_variables("accumulated")]
    assert len(waiting) == 3
    assert all((value == 1).all() for value in waiting)


def test_a_non_finite_gradient_skips_the_step_under_loss_scaling():
    model = _train(_model(loss_scale=4.0), [[[np.inf, 1.0]]])
    assert all((kernel == 1).all() for kernel in model.kernels())
    assert float(np.asarray(model.optimizer.dynamic_scale)) == 2.0
    _train(model, [[[1.0, 1.0]]])
    assert all((kernel != 1).all() for kernel in model.kernels())


@pytest.mark.parametrize("loss_scale", [None, 4.0])
def test_averaged_weights_are_those_of_the_formula_and_only_lent(loss_scale):
    model = _model(loss_scale=loss_scale, ema=0.2)
    averages = np.zeros((3, 2))
    for step in range(5):
        trained = np.array(_train(model, [[[1.0, -2.0 * step]]]).kernels())
        momentum = min(step / (step + 10), 0.2)  # nothing of the start remains; 0.2 from the fourth step on
        averages = momentum * averages + (1 - momentum) * trained
    with averaged_weights(model):
        np.testing.assert_allclose(model.kernels(), averages, rtol=1e-5)
    np.testing.assert_array_equal(model.kernels(), trained)
    assert np.abs(averages - trained).max() > 0.01
    with pytest.raises(ZeroDivisionError), averaged_weights(model):
        _ = 1 / 0
    np.testing.assert_array_equal(model.kernels(), trained)


def test_an_average_takes_in_updates_not_batches():
    model = _train(_model(accumulation=2, ema=0.05), [[[1.0, 2.0]]])
    with averaged_weights(model):
        assert all((kernel == 1).all() for kernel in model.kernels())  # nothing is learned yet
    averages = np.ones((3, 2))
    for update in range(3):
        trained = np.array(_train(model, [[[1.0, -update]]]).kernels())
        momentum = min(update / (update + 10), 0.05)
        averages = momentum * averages + (1 - momentum) * trained
        for batches in ([], [[[5.0, 0.0]]]):  # the second waits for the next update
            with averaged_weights(_train(model, batches)):
                np.testing.assert_allclose(model.kernels(), averages, rtol=1e-5)


def test_fit_leaves_the_trained_weights_in_place():
    """Keras would leave their averages, from which a resumed run would go on."""
    batches = [[[1.0, 2.0]], [[-1.0, 0.5]], [[2.0, 1.0]]]
    expected = _train(_model(ema=0.9), batches).kernels()
    fitted = _model(ema=0.9)
    fitted.fit(np.array(batches, np.float32)[:, 0], batch_size=1, shuffle=False, verbose=0)
    np.testing.assert_allclose(fitted.kernels(), expected, rtol=1e-5)


def test_without_an_average_nothing_is_swapped():
    model = _train(_model(), [[[1.0, 2.0]]])
    before = model.kernels()
    with averaged_weights(model):
        np.testing.assert_array_equal(model.kernels(), before)
    assert not [v for v in model.optimizer.variables if "average" in v.path]


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_gradients_that_are_not_finite_change_no_weight_and_are_noted(accumulation, broken):
    model = _model(accumulation=accumulation, weight_decay=0.0)
    whole = [[[3.0, 4.0]]] * accumulation
    _train(model, whole)
    before = model.kernels()
    assert int(inner_optimizer(model).broken_step) == -1
    _train(model, [[[broken, 1.0]], [[1.0, broken]]])
    assert int(inner_optimizer(model).broken_step) == accumulation
    for kernel, old in zip(model.kernels(), before, strict=True):
        assert np.isfinite(kernel).all()
        np.testing.assert_allclose(kernel, old, atol=0.2)  # momentum alone moves on


def test_loss_scaling_skips_what_overflows_and_gives_up_after_fifty(tmp_path):
    model = _model(loss_scale=2.0**15)
    run = create_run(tmp_path, "train", "x", Settings(), {})
    position = Position(batch_size=1, steps_per_epoch=1000)
    check = FiniteCheck(model, run, Images(), seed=0, position=position)

    def train(gradient, steps):
        for _ in range(steps):
            _train(model, [[gradient]])
            position.step += 1
            check.check(position)

    check.check(position)
    train([1.0, 1.0], 3)
    train([math.inf, 1.0], 49)
    train([1.0, 1.0], 1)
    assert inner_optimizer(model).broken_step == -1
    train([math.inf, 1.0], 49)
    with pytest.raises(RunError, match="at step 102, images 102"):
        train([math.inf, 1.0], 1)
    assert [path.name for path in run.path.glob("not-finite-*")] == ["not-finite-000000102.npz"]


def test_the_images_are_those_of_the_batch_whatever_the_optimizer_counts(tmp_path):
    """A batch that was halved makes more steps of an epoch than the optimizer has seen."""
    model = _model()
    run = create_run(tmp_path, "train", "x", Settings(), {})
    position = Position(batch_size=1, steps_per_epoch=1000, step=16)
    check = FiniteCheck(model, run, Images(), seed=0, position=position)
    for gradient in ([1.0, 1.0], [1.0, math.nan]):
        _train(model, [[gradient]])
        position.step += 1
    with pytest.raises(RunError, match="at step 17, images 17"):
        check.check(position)


class Images:
    """Image k is all of batch k."""

    def training_ids(self, batch_size, seed, step):
        return [step]
