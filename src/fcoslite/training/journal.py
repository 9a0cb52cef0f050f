"""The course of training: what happens at the end of an epoch, every few minutes within one, and at a break."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

import keras
import numpy as np

from fcoslite.data.sources.source import Source
from fcoslite.errors import Interrupted
from fcoslite.evaluation.evaluation import Evaluates
from fcoslite.machine.distribute import gather, group
from fcoslite.machine.signals import StopRequest
from fcoslite.progress import Advance, Progress
from fcoslite.runs.figures import figure_text
from fcoslite.training.checkpoint import Position
from fcoslite.training.finite_check import FiniteCheck
from fcoslite.training.optimizer import averaged_weights
from fcoslite.training.recorder import Recorder

_log = logging.getLogger("fcoslite")

_LOOK_EVERY = 10  # batches; to look at a number is to wait for the accelerator


class Journal(keras.callbacks.Callback):
    """Validates, judges, has the best and the last weights, metrics.jsonl and checkpoints written, and stops early.

    Of processes that train together, each judges, and all alike; the first one's recorder writes.

    One callback, because the order matters: checkpoint, validate, judge, record, checkpoint. A crash between any two
    of them leaves a state from which the epoch's end is simply repeated.

    Args:
        model: Trained, and compiled.
        recorder: Of the run.
        position: Step, best score and patience; of the resumed state, or fresh.
        epochs: Of the whole run.
        evaluator: Used on `validation`.
        validation: Images never trained on; None where the set has none.
        validate_every: Epochs.
        patience: Validations without a better loss before training stops.
        checkpoint_seconds: Time between checkpoints within an epoch.
        bar: Progress shown while validating.
        stop_request: Ends training between two batches, with a checkpoint.
        finite_check: Made before every checkpoint.
    """

    def __init__(
        self,
        model: keras.Model,
        recorder: Recorder,
        position: Position,
        epochs: int,
        evaluator: Evaluates,
        validation: Source | None,
        validate_every: int,
        patience: float,
        checkpoint_seconds: float,
        bar: Progress,
        stop_request: StopRequest,
        finite_check: FiniteCheck,
    ) -> None:
        super().__init__()
        self.set_model(model)
        self.recorder = recorder
        self.position = position
        self.epochs = epochs
        self.evaluator = evaluator
        self.validation = validation
        self.validate_every = validate_every
        self.patience = patience
        self.checkpoint_seconds = checkpoint_seconds
        self.bar = bar
        self.stop_request = stop_request
        self.finite_check = finite_check
        self.stopped_early = False
        self._saved_at = self._epoch_began = time.monotonic()
        self._epoch_first_step = position.step
        self._sums: list[np.ndarray] = []

    def begin(self) -> None:
        """Save the very beginning, or finish what an earlier sitting has left open: an epoch, its curves."""
        self.stopped_early = self.position.stale >= self.patience
        if self.position.step == 0:
            self._checkpoint()
        else:
            self.recorder.draw_curves()
        if self.position.epoch_open:
            epoch = self.position.step // self.position.steps_per_epoch - 1
            self.on_epoch_end(epoch, self.model.get_metrics_result())
        elif self.position.step % self.position.steps_per_epoch:
            self._sums = [np.array(variable) for variable in self.model.metrics_variables]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the time, for images/s; in a broken epoch, go on with the sums of its losses, which Keras resets."""
        self._epoch_began = time.monotonic()
        self._epoch_first_step = self.position.step
        for variable, value in zip(self.model.metrics_variables, self._sums, strict=bool(self._sums)):
            variable.assign(value)
        self._sums = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the step; checkpoint when the last one is old. The end of an epoch checkpoints by itself."""
        self.position.step += 1
        epoch_ends = self.position.step % self.position.steps_per_epoch == 0
        if self.position.step % _LOOK_EVERY == 0:
            self._look()
        old = time.monotonic() - self._saved_at > self.checkpoint_seconds
        # of processes that train together, one may have been told to stop, and clocks differ
        signals, [old, *_] = zip(*gather((self.stop_request.signal_number, old)), strict=True)
        signal = next((number for number in signals if number is not None), None)
        if signal is not None:
            self.position.epoch_open = epoch_ends
            self._checkpoint()
            self._raise_stopped(signal)
        if not epoch_ends and old:
            self._checkpoint()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checkpoint, validate, judge, record, checkpoint."""
        seconds = time.monotonic() - self._epoch_began
        images = (self.position.step - self._epoch_first_step) * self.position.batch_size
        line: dict[str, Any] = {"epoch": epoch + 1, "step": self.position.step}
        line |= {key: float(value) for key, value in (logs or {}).items()}
        line["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        if images:
            line["images_per_second"] = images / seconds
        last = epoch + 1 == self.epochs
        facts = {"run": self.recorder.run.name, "epoch": epoch + 1}
        self.position.epoch_open = True
        self._checkpoint()
        with averaged_weights(self.model):
            if self.validation is not None and ((epoch + 1) % self.validate_every == 0 or last):
                line |= self._validate(self.validation)
                self._judge(line, facts)
            elif self.validation is None:
                self.recorder.save_best(facts)
            self.recorder.save_last(facts)
        self.recorder.append(line)
        self.position.epoch_open = False
        self._checkpoint()
        self.recorder.follow(always=last or self.stopped_early)
        _log.info(_summary(line, self.epochs))

    def _validate(self, validation: Source) -> dict[str, float]:
        result = self.evaluator.run(validation, self.position.batch_size, self.stoppable_bar)
        return {f"val_{key}": value for key, value in result.metrics.items()}

    def _judge(self, line: dict[str, Any], facts: dict[str, Any]) -> None:
        score = line["val_loss"]
        if not isfinite(score):
            _log.warning("the validation loss is %s: is the learning rate too high?", score)
        if isfinite(score) and (self.position.best_score is None or score < self.position.best_score):
            self.position.best_score, self.position.stale = score, 0
            metrics = {key: value for key, value in line.items() if key.startswith("val_")}
            self.recorder.save_best({**facts, "metrics": metrics})
        else:
            self.position.stale += 1
        if self.position.stale >= self.patience:
            self.stopped_early = True
            self.model.stop_training = True
            _log.info("validation loss has not improved %d times: stopping early", self.patience)

    def _checkpoint(self) -> None:
        self._look()
        self.recorder.checkpoint(self.position)
        self._saved_at = time.monotonic()

    def _look(self) -> None:
        if hasattr(self.model, "jax_state_sync"):  # on JAX, variables lag behind within an epoch
            self.model.jax_state_sync()
        self.finite_check.check(self.position)

    def _raise_stopped(self, signal_number: int) -> None:
        run = self.recorder.run
        raise Interrupted(
            f"stopped at step {self.position.step} of {self.epochs * self.position.steps_per_epoch}; all is saved",
            f"fcoslite {run.facts()['verb']} --resume {run.path} goes on from there",
            signal_number,
        )

    @contextmanager
    def stoppable_bar(self, title: str, total: int | None, unit: str) -> Iterator[Advance]:
        """The bar of an evaluation, whose every move ends it if somebody has asked for that; training is saved."""
        with self.bar(title, total, unit) as advance:

            def move(amount: int = 1, note: str = "") -> None:
                advance(amount, note=note)
                # of several processes, all stop at the next batch
                if self.stop_request.signal_number is not None and group().count == 1:
                    self._raise_stopped(self.stop_request.signal_number)

            yield move


def _summary(line: dict[str, Any], epochs: int) -> str:
    text = f"epoch {line['epoch']}/{epochs}: loss {line['loss']:.4f}"
    if "val_loss" in line:
        text += f", validation loss {line['val_loss']:.4f}, AP {figure_text(line['val_ap'])}"
        text += f", AP50 {figure_text(line['val_ap50'])}"
    return text + (f", {line['images_per_second']:.1f} images/s" if "images_per_second" in line else "")
