"""NaN and infinity in training: noticed early, explained, and kept out of the checkpoints."""

import keras

from fcoslite.data.sources.source import Source
from fcoslite.errors import RunError
from fcoslite.machine.distribute import group
from fcoslite.runs.run import Run
from fcoslite.training.checkpoint import Position, write_state
from fcoslite.training.optimizer import inner_optimizer

_MOST_SKIPPED = 50  # batches in a row


class FiniteCheck:
    """Ends training when gradients were not finite: at once, or after 50 batches where loss scaling may mend it.

    Args:
        model: Compiled by `build_training_model`.
        run: Gets the state for inspection.
        training: Names the images of a batch.
        seed: Of their order.
        position: Where training begins, or goes on.
    """

    def __init__(self, model: keras.Model, run: Run, training: Source, seed: int, position: Position) -> None:
        self._model = model
        self._optimizer = inner_optimizer(model)
        self._run = run
        self._training = training
        self._seed = seed
        self._applied = int(self._optimizer._iterations)
        self._applied_at: int | None = None
        # the optimizer counts the steps that were made; a batch that was halved makes more of them per epoch
        self._ahead = position.step - self._applied

    def check(self, position: Position) -> None:
        """Look at the optimizer; its variables must be up to date.

        Raises:
            RunError: Its gradients were not finite.
        """
        applied, broken = int(self._optimizer._iterations), int(self._optimizer.broken_step)
        if applied != self._applied or self._applied_at is None:
            self._applied, self._applied_at = applied, position.step
        if broken < 0 and position.step - self._applied_at < _MOST_SKIPPED:
            return
        step = broken + self._ahead if broken >= 0 else position.step - 1
        path = self._run.path / f"not-finite-{step:09d}.npz"
        if group().first:
            write_state(path, self._model, position)
        ids = ", ".join(str(number) for number in self._training.training_ids(position.batch_size, self._seed, step))
        raise RunError(
            f"the loss or its gradients are infinite or NaN at step {step}, images {ids}; the state is in {path}",
            "look at the boxes of these images; or lower lr_max and start from the best weights so far",
        )
