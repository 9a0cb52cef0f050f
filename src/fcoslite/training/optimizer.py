"""AdamW with gradient accumulation, global-norm clipping, a rate for each part of the detector and averaged weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from fcoslite.config.settings import ScheduleSettings
from fcoslite.training.schedule import WarmupCosine


class AdamW(keras.optimizers.Adam):
    """AdamW (arXiv 1711.05101) whose step and decay are scaled by a factor for each variable.

    Keras' own AdamW decays every variable by the global learning rate; with a factor of 0.1 for the backbone the
    original detector's separate optimizer decays it by a tenth as well, and so does this one.

    Args:
        factors: Factor of the variables by the start of their path; the first that fits counts.
        decay: Decoupled weight decay.
        options: Of `keras.optimizers.Adam`, but `amsgrad`.

    Attributes:
        broken_step: Number of the first batch whose gradients were not finite; -1 before any.
    """

    def __init__(self, factors: Mapping[str, float], decay: float, **options: Any) -> None:
        super().__init__(**options)
        self._factor_by_prefix = dict(factors)
        self._decay = decay
        self._factors: list[float] = []

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the moments and note every variable's factor."""
        if self.built:
            return
        super().build(variables)
        self.broken_step = self.add_variable(shape=(), initializer=_minus_one, dtype="int32", name="broken_step")
        if self.use_ema:  # what is kept before the first update
            for variable, average in zip(variables, self._model_variables_moving_average, strict=True):
                average.assign(ops.copy(variable))  # JAX must not share the buffer
        # update_step gets raw backend variables without a path on TensorFlow: look the factor up by index
        by_prefix = self._factor_by_prefix.items()
        self._factors = [
            next(factor for prefix, factor in by_prefix if variable.path.startswith(prefix)) for variable in variables
        ]

    def _update_model_variables_moving_average(self, trainable_variables: list[keras.Variable]) -> None:
        # as Keras does, but with a momentum that grows from 0: a run of a few hundred steps must not be
        # averaged with where it began
        updates = ops.cast(self.iterations, "float32")
        momentum = ops.minimum(updates / (updates + 10.0), self.ema_momentum)
        if self.gradient_accumulation_steps:  # between updates there is nothing new
            accumulated = (self._iterations + 1) % self.gradient_accumulation_steps
            momentum = ops.where(accumulated == 0, momentum, 1.0)
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign(average * momentum + variable * (1.0 - momentum))

    def finalize_variable_values(self, var_list: list[keras.Variable]) -> None:
        """Leave the weights alone: Keras would replace them by their averages whenever `fit` returns."""

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """As Keras does, but NaN or infinity in any gradient leaves all of them out and the step's number noted."""
        finite = ops.isfinite(_global_norm(grads))
        noted = ops.convert_to_tensor(self.broken_step)  # `where` of JAX takes no variables
        first = ops.logical_and(ops.logical_not(finite), noted < 0)
        self.broken_step.assign(ops.where(first, ops.cast(self._iterations, "int32"), noted))
        whole = [g if g is None else ops.where(finite, g, ops.zeros_like(g)) for g in grads]
        super().apply(whole, trainable_variables)

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        scale = self.global_clipnorm / ops.maximum(_global_norm(grads), self.global_clipnorm)
        return [gradient if gradient is None else gradient * scale for gradient in grads]

    def _backend_update_step(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
        # Keras corrects the bias for each variable by itself, which was a third of the optimizer's graph
        step = ops.cast(self.iterations + 1, "float32")
        corrected = learning_rate * ops.sqrt(1.0 - self.beta_2**step) / (1.0 - self.beta_1**step)
        super()._backend_update_step(grads, trainable_variables, (learning_rate, corrected))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay, then Adam's step, both at the variable's own rate; `learning_rate` comes with its corrected value."""
        index = self._get_variable_index(variable)
        rate, corrected = (each * self._factors[index] for each in learning_rate)
        moment, velocity = self._momentums[index], self._velocities[index]
        self.assign_sub(variable, variable * (rate * self._decay))
        self.assign_add(moment, (gradient - moment) * (1.0 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1.0 - self.beta_2))
        self.assign_sub(variable, moment * corrected / (ops.sqrt(velocity) + self.epsilon))


def _global_norm(gradients: list[Any]) -> Any:
    """L2 norm of all of them as one vector.

    Of Keras' sum of sums of squares XLA makes one of hundreds of scalars, and repeats it in the update of every weight.
    """
    norms = ops.stack([ops.sqrt(ops.sum(ops.square(each))) for each in gradients if each is not None])
    return ops.sqrt(ops.vdot(norms, norms))


def _minus_one(shape: Any, dtype: Any = None) -> Any:
    return ops.full(shape, -1, dtype=dtype)


def inner_optimizer(model: keras.Model) -> AdamW:
    """Ours, without the loss scaling that may be around it."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def build_optimizer(settings: ScheduleSettings, accumulation: int, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of a phase.

    Clipping acts on the global norm of the averaged gradients of `accumulation` batches.
    """
    return AdamW(
        # every backbone names its layers in its own way
        factors={"head_": 1.0, "neck_": settings.neck_lr_factor, "": settings.backbone_lr_factor},
        decay=settings.weight_decay,
        learning_rate=WarmupCosine(settings, total_steps),
        global_clipnorm=settings.clip_norm,
        gradient_accumulation_steps=accumulation if accumulation > 1 else None,
        use_ema=settings.ema > 0,
        ema_momentum=settings.ema or 0.99,
    )


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Inside, the model's trainable weights are their moving averages, where the optimizer keeps such."""
    optimizer = inner_optimizer(model)
    if not optimizer.use_ema:
        yield
        return
    variables = model.trainable_variables
    trained = [ops.convert_to_numpy(variable) for variable in variables]
    for variable, average in zip(variables, optimizer._model_variables_moving_average, strict=True):
        # JAX must not share the buffer: an evaluation gives that of the weights away
        variable.assign(ops.copy(average))
    try:
        yield
    finally:
        for variable, value in zip(variables, trained, strict=True):
            variable.assign(value)
