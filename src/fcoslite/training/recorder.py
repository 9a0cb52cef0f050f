"""What a run's directory gets of a training: checkpoints, weights, a line an epoch, curves."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import keras

from fcoslite.evaluation.plots import plot_curves
from fcoslite.machine.distribute import group
from fcoslite.models.detector import Detector
from fcoslite.models.weights import save_weights
from fcoslite.runs.mlflow_thread import MlflowTracker
from fcoslite.runs.run import Run
from fcoslite.training.checkpoint import Position, save_state

_log = logging.getLogger("fcoslite")

_DRAW_SECONDS = 30.0  # between charts; one takes half a second, and an epoch of few images less


class Recorder:
    """Writes, in the first of the processes that train together; in the others it does nothing.

    Args:
        model: Trained, and compiled.
        run: Where everything goes.
        detector: Shares its network with the model that is trained.
        tracker: Mirror of metrics.jsonl; None where nothing is written.
    """

    def __init__(self, model: keras.Model, run: Run, detector: Detector, tracker: MlflowTracker | None) -> None:
        self.run = run
        self._model = model
        self._detector = detector
        self._tracker = tracker
        self._writes = group().first
        self._drawn_at = float("-inf")

    def checkpoint(self, position: Position) -> None:
        """Save the state of everything."""
        if self._writes:
            save_state(self._model, position, self.run.checkpoints)

    def save_best(self, facts: Mapping[str, Any]) -> None:
        """Save the weights as the best so far."""
        if self._writes:
            save_weights(self._detector, self.run.best_weights, facts)

    def save_last(self, facts: Mapping[str, Any]) -> None:
        """Save the weights as those of the last epoch."""
        if self._writes:
            save_weights(self._detector, self.run.last_weights, facts)

    def append(self, line: Mapping[str, Any]) -> None:
        """Append an epoch's line to metrics.jsonl."""
        if self._writes:
            self.run.append_metrics(line)

    def follow(self, always: bool) -> None:
        """Bring to the new line what shows the lines: MLflow, and the curves, if they are old or `always`."""
        if self._writes:
            if self._tracker is not None:
                self._tracker.follow()
            if always or time.monotonic() - self._drawn_at > _DRAW_SECONDS:
                self.draw_curves()

    def draw_curves(self) -> None:
        """Draw the lines so far."""
        if not self._writes:
            return
        try:
            plot_curves(self.run.read_metrics(), self.run.curves_file)
            self._drawn_at = time.monotonic()
        except OSError as error:  # on Windows, while somebody looks at it
            _log.warning("%s is not brought up to date: %s", self.run.curves_file, error)
