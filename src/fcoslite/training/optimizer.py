"""AdamW with gradient accumulation, global-norm clipping, a rate for each part of the detector and averaged weights."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from fcoslite.config.settings import ScheduleSettings
from fcoslite.training.schedule import WarmupCosine

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7  # as Keras has them


class AdamW(keras.optimizers.Optimizer):
    """AdamW (arXiv 1711.05101) on a vector of the weights of each part, whose step and decay are scaled by a factor.

    Keras' own has fifty operations for every variable, which were half of the graph of a training step. And it decays
    all of them by the global learning rate: with a factor of 0.1 for the backbone the original detector's separate
    optimizer decays it by a tenth as well, and so does this one.

    Args:
        factors: Factor of the variables by the start of their path; the first that fits counts.
        decay: Decoupled weight decay, a share of the rate.
        learning_rate: Of the number of batches so far.
        clip_norm: Most that the norm of all gradients together may be.
        accumulation: Batches whose gradients are averaged for an update.
        ema: Momentum of the averages of the weights; 0: none are kept.

    Attributes:
        kept: Names of what is kept of every weight.
        broken_step: Number of the first batch whose gradients were not finite; -1 before any.
    """

    def __init__(
        self,
        factors: Mapping[str, float],
        decay: float,
        learning_rate: keras.optimizers.schedules.LearningRateSchedule,
        clip_norm: float,
        accumulation: int = 1,
        ema: float = 0.0,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name="adamw")
        self._factors = dict(factors)
        self._decay = decay
        self._clip_norm = clip_norm
        self._accumulation = accumulation
        self._ema = ema
        self._parts: list[_Part] = []
        self.kept = ["momentum", "velocity"]
        if accumulation > 1:
            self.kept.append("accumulated")
        if ema > 0:
            self.kept.append("average")

    @property
    def accumulated(self) -> list[keras.Variable]:
        """Sums of gradients that wait for an update; empty without accumulation."""
        return [part.vectors["accumulated"] for part in self._parts if "accumulated" in part.vectors]

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the vectors of every part."""
        if self.built:
            return
        super().build(variables)
        prefixes = [next(prefix for prefix in self._factors if one.path.startswith(prefix)) for one in variables]
        for prefix, factor in self._factors.items():
            places = [place for place, its in enumerate(prefixes) if its == prefix]
            if places:
                self._parts.append(_Part(self, variables, places, prefix.strip("_") or "rest", factor))
        self.broken_step = self.add_variable(shape=(), initializer=_minus_one, dtype="int32", name="broken_step")
        self.begin_averages()

    def begin_averages(self) -> None:
        """Make the weights of now their own averages."""
        for part in self._parts:
            if "average" in part.vectors:
                part.vectors["average"].assign(part.weights())

    def of_variables(self, name: str) -> list[Any]:
        """What is kept of every variable, in its shape and in the order of `build`.

        Args:
            name: One of `kept`.
        """
        kept = {place: value for part in self._parts for place, value in part.split(part.vectors[name])}
        return [kept[place] for place in range(len(kept))]

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Update the variables that the optimizer was built for by their gradients; None is a gradient of zeros.

        NaN or infinity in any gradient leaves all of them out, and the step's number is noted.
        """
        gradients = [part.join(grads) for part in self._parts]
        norm = _norm(gradients)
        finite = ops.isfinite(norm)
        noted = ops.convert_to_tensor(self.broken_step)  # `where` of JAX takes no variables
        first = ops.logical_and(ops.logical_not(finite), noted < 0)
        self.broken_step.assign(ops.where(first, ops.cast(self.iterations, "int32"), noted))
        gradients = [ops.where(finite, gradient, 0.0) for gradient in gradients]
        norm = ops.where(finite, norm, 0.0)
        due: Any = None  # every batch makes an update
        if self._accumulation > 1:
            due = ops.equal((self.iterations + 1) % self._accumulation, 0)
            gradients = [gradient + total for gradient, total in zip(gradients, self.accumulated, strict=True)]
            for gradient, total in zip(gradients, self.accumulated, strict=True):
                total.assign(ops.where(due, 0.0, gradient))
            gradients = [gradient / self._accumulation for gradient in gradients]
            norm = _norm(gradients)
        clip = self._clip_norm / ops.maximum(norm, self._clip_norm)
        for part, gradient in zip(self._parts, gradients, strict=True):
            self._update(part, gradient * clip, due)
        self.iterations.assign_add(1)

    def _update(self, part: "_Part", gradient: Any, due: Any) -> None:
        """Decay, Adam's step, and the average; nothing of it unless it is due."""
        updates = ops.cast(self.iterations // self._accumulation, "float32")
        rate = self._get_current_learning_rate() * part.factor
        corrected = rate * ops.sqrt(1.0 - _BETA_2 ** (updates + 1.0)) / (1.0 - _BETA_1 ** (updates + 1.0))
        weights = part.weights()
        before = {"weights": weights, **{name: ops.convert_to_tensor(one) for name, one in part.vectors.items()}}
        momentum = before["momentum"] + (gradient - before["momentum"]) * (1.0 - _BETA_1)
        velocity = before["velocity"] + (ops.square(gradient) - before["velocity"]) * (1.0 - _BETA_2)
        weights = weights - weights * (rate * self._decay)
        weights = weights - momentum * corrected / (ops.sqrt(velocity) + _EPSILON)
        after = {"weights": weights, "momentum": momentum, "velocity": velocity}
        if "average" in before:
            # a momentum that grows from 0: a run of a few hundred steps must not be averaged with where it began
            share = ops.minimum(updates / (updates + 10.0), self._ema)
            after["average"] = before["average"] * share + weights * (1.0 - share)
        if due is not None:
            after = {name: ops.where(due, value, before[name]) for name, value in after.items()}
        part.assign(after.pop("weights"))
        for name, value in after.items():
            part.vectors[name].assign(value)


class _Part:
    """Variables that learn at the same rate, as a vector.

    Args:
        optimizer: Keeps the vectors.
        variables: All that it is built for.
        places: Of the part's among them.
        name: Of the part.
        factor: Of the learning rate.

    Attributes:
        vectors: What is kept of every weight, float32 [N], by name.
    """

    def __init__(
        self, optimizer: AdamW, variables: Sequence[keras.Variable], places: list[int], name: str, factor: float
    ) -> None:
        self.factor = factor
        self._places = places
        self._variables = [variables[place] for place in places]
        sizes = [math.prod(variable.shape) for variable in self._variables]
        self._starts = list(itertools.accumulate(sizes))[:-1]  # of all but the first
        self.vectors = {
            kept: optimizer.add_variable(shape=(sum(sizes),), dtype="float32", name=f"{name}_{kept}")
            for kept in optimizer.kept
        }

    def weights(self) -> Any:
        """Of now, [N]."""
        return _flat(self._variables)

    def assign(self, weights: Any) -> None:
        """Give the variables their weights, [N]."""
        for variable, value in zip(self._variables, self._split(weights), strict=True):
            variable.assign(value)

    def join(self, gradients: Sequence[Any]) -> Any:
        """Those of the part among the gradients of all variables, [N]."""
        found = [gradients[place] for place in self._places]
        return _flat([ops.zeros_like(v) if g is None else g for g, v in zip(found, self._variables, strict=True)])

    def split(self, vector: Any) -> Iterator[tuple[int, Any]]:
        """The place of each variable, and what of a vector [N] is its own, in its shape."""
        return zip(self._places, self._split(vector), strict=True)

    def _split(self, vector: Any) -> list[Any]:
        values = ops.split(vector, self._starts) if self._starts else [vector]
        return [ops.reshape(value, one.shape) for value, one in zip(values, self._variables, strict=True)]


def _flat(tensors: Sequence[Any]) -> Any:
    return ops.concatenate([ops.reshape(ops.cast(one, "float32"), [-1]) for one in tensors])


def _norm(vectors: Sequence[Any]) -> Any:
    """L2 norm of all of them as one vector."""
    return ops.sqrt(sum(ops.vdot(vector, vector) for vector in vectors))


def _minus_one(shape: Any, dtype: Any = None) -> Any:
    return ops.full(shape, -1, dtype=dtype)


def inner_optimizer(model: keras.Model) -> AdamW:
    """Ours, without the loss scaling that may be around it."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def build_optimizer(settings: ScheduleSettings, accumulation: int, total_steps: int) -> AdamW:
    """The optimizer of a phase.

    Clipping acts on the global norm of the averaged gradients of `accumulation` batches.
    """
    return AdamW(
        # every backbone names its layers in its own way
        factors={"head_": 1.0, "neck_": settings.neck_lr_factor, "": settings.backbone_lr_factor},
        decay=settings.weight_decay,
        learning_rate=WarmupCosine(settings, total_steps),
        clip_norm=settings.clip_norm,
        accumulation=accumulation,
        ema=settings.ema,
    )


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Inside, the model's trainable weights are their moving averages, where the optimizer keeps such."""
    optimizer = inner_optimizer(model)
    if "average" not in optimizer.kept:
        yield
        return
    variables = model.trainable_variables
    trained = [ops.convert_to_numpy(variable) for variable in variables]
    for variable, average in zip(variables, optimizer.of_variables("average"), strict=True):
        variable.assign(ops.convert_to_numpy(average))  # JAX must not share a buffer: an evaluation gives it away
    try:
        yield
    finally:
        for variable, value in zip(variables, trained, strict=True):
            variable.assign(value)
