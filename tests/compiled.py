"""Training models and evaluators that are compiled once a process, and lent to every run that asks for the same.

Tracing a training step takes ten seconds, the fifteen steps of a test's run take one. What is lent is as new: every
variable is what it was when it was built.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import pytest

from fcoslite.config.settings import ModelSettings, ScheduleSettings, Settings
from fcoslite.evaluation.evaluator import Evaluator
from fcoslite.models.detector import Detector, build_detector
from fcoslite.training import loop
from fcoslite.training.model import TrainingModel, build_training_model
from fcoslite.training.optimizer import inner_optimizer
from fcoslite.training.teacher import Teach

_Start = list[tuple[keras.Variable, np.ndarray]]
_detectors: dict[str, tuple[Detector, _Start]] = {}
_models: dict[tuple[Any, ...], tuple[TrainingModel, int, _Start]] = {}
_steps: dict[tuple[int, int], Any] = {}  # by model and mosaics
_evaluators: dict[tuple[Any, ...], keras.Model] = {}
_compile_step, _compile_evaluator = TrainingModel.make_train_function, Evaluator._model
# of a schedule, what the graph of a step does not hold
_AROUND_STEPS = {"epochs", "steps_per_epoch", "early_stopping_epochs", "validate_every", "keep"}


@contextmanager
def lending() -> Iterator[pytest.MonkeyPatch]:
    """Within, `loop` borrows what it would compile; `undo()` ends that earlier."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "build_detector", _lend_detector)
        patch.setattr(loop, "build_training_model", _lend_training_model)
        patch.setattr(TrainingModel, "make_train_function", _lend_step)
        patch.setattr(Evaluator, "_model", _lend_evaluator)
        yield patch


def _start(variables: list[keras.Variable]) -> _Start:
    return [(variable, np.array(variable)) for variable in variables]


def _begin_again(start: _Start) -> None:
    for variable, value in start:
        variable.assign(value)


def _lend_detector(settings: ModelSettings, precision: str, seed: int) -> Detector:
    key = f"{settings.model_dump_json()} {precision} {seed}"
    if key not in _detectors:
        detector = build_detector(settings, precision, seed)
        _detectors[key] = detector, _start(detector.network.variables)
    detector, start = _detectors[key]
    keras.utils.set_random_seed(seed)  # as building does
    _begin_again(start)
    return detector


def _lend_training_model(
    detector: Detector, settings: Settings, schedule: ScheduleSettings, steps: int, teach: Teach | None = None
) -> TrainingModel:
    if teach is not None or all(detector is not lent for lent, _ in _detectors.values()):
        return build_training_model(detector, settings, schedule, steps, teach)
    parts = (settings.loss, settings.augment, settings.compute)
    rates = schedule.model_dump_json(exclude=_AROUND_STEPS)
    key = (id(detector), *(part.model_dump_json() for part in parts), rates, settings.seed, steps)
    if key not in _models:
        model = build_training_model(detector, settings, schedule, steps)
        weights = {id(variable) for variable in detector.network.variables}
        own = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
        _models[key] = model, model.augment.mosaics, _start([one for one in own if id(one) not in weights])
        return model
    model, mosaics, start = _models[key]
    _begin_again(start)
    inner_optimizer(model).begin_averages()  # with the weights
    model.augment.mosaics, model.train_function = mosaics, None  # the run before may have switched them off
    return model


def _lend_step(self: TrainingModel, force: bool = False) -> None:
    if all(self is not lent for lent, _, _ in _models.values()):
        return _compile_step(self, force)
    if self.train_function is None:
        self.train_function = _steps.get((id(self), self.augment.mosaics))
    _compile_step(self, force)
    _steps[id(self), self.augment.mosaics] = self.train_function


def _lend_evaluator(self: Evaluator, shape: tuple[int, ...]) -> keras.Model:
    if all(self.detector is not lent for lent, _ in _detectors.values()):
        return _compile_evaluator(self, shape)
    key = (id(self.detector), self._loss.model_dump_json(), self._jit_compile, shape)
    if key not in _evaluators:
        _evaluators[key] = _compile_evaluator(self, shape)
    return _evaluators[key]
