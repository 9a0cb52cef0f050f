"""The whole state of a training run in one file, from which it goes on as if never stopped.

Model, metrics, optimizer with its accumulators and loss scale, and random state are variables of the Keras model; the
data's position follows from the step. What is not a variable (step, best score, patience) rides in the header.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np

from fcoslite.errors import RunError, WeightsError
from fcoslite.runs.run import training_states
from fcoslite.storage.arrays import read_arrays, write_arrays
from fcoslite.training.optimizer import inner_optimizer

_log = logging.getLogger("fcoslite")

_KEEP = 2  # the newest may be damaged; the one before is not


@dataclass(slots=True)
class Position:
    """Where a run stands.

    Attributes:
        batch_size: Images per step.
        steps_per_epoch: Batches.
        step: Batches trained.
        best_score: Lowest validation loss so far; None before the first.
        stale: Validations since.
        epoch_open: All batches of an epoch are trained, but it is not yet validated and recorded.
    """

    batch_size: int
    steps_per_epoch: int
    step: int = 0
    best_score: float | None = None
    stale: int = 0
    epoch_open: bool = False

    def in_batches_of(self, batch_size: int, steps_per_epoch: int) -> "Position":
        """The same place, counted in smaller batches."""
        epoch, within = divmod(self.step, self.steps_per_epoch)
        step = epoch * steps_per_epoch + within * self.batch_size // batch_size
        return replace(self, batch_size=batch_size, steps_per_epoch=steps_per_epoch, step=step)


def save_state(model: keras.Model, position: Position, folder: Path) -> Path:
    """Write `state-<step>.npz` and drop all but the newest two."""
    path = folder / f"state-{position.step:09d}.npz"
    write_state(path, model, position)
    for old in training_states(folder)[:-_KEEP]:
        old.unlink()
    return path


def write_state(path: Path, model: keras.Model, position: Position) -> None:
    """Write a state to any file."""
    arrays = {key: np.asarray(variable) for key, variable in _variables(model).items()}
    write_arrays(path, arrays, {"kind": "state", **asdict(position)})


def has_state(folder: Path) -> bool:
    """Whether there is any state, whole or not."""
    return bool(training_states(folder))


def load_state(model: keras.Model, folder: Path, batch_size: int, steps_per_epoch: int) -> Position:
    """Load the newest state that is whole into a compiled and built model; damaged ones after it are deleted.

    It may have been written with batches larger by a factor, as long as the accumulation was smaller by the same.

    Raises:
        RunError: There is none, or it is of another model.
    """
    damaged: list[tuple[Path, str]] = []
    for path in reversed(training_states(folder)):
        try:
            arrays, header = read_arrays(path)
        except WeightsError as error:
            damaged.append((path, error.message))
            continue
        position = _read_position(header, path)
        _assign(model, arrays, position.batch_size // batch_size, path)
        for newer, reason in damaged:  # else it would count as one of those that are kept
            _log.warning("%s; going on from %s", reason, path.name)
            newer.unlink()
        return position.in_batches_of(batch_size, steps_per_epoch)
    detail = f" ({damaged[0][1]})" if damaged else ""
    raise RunError(f"{folder} holds no whole training state{detail}", "start a new run from its weights, if any")


def _read_position(header: Mapping[str, Any], path: Path) -> Position:
    try:
        position = msgspec.convert({field.name: header[field.name] for field in fields(Position)}, Position)
        if min(position.batch_size, position.steps_per_epoch) < 1 or min(position.step, position.stale) < 0:
            raise ValueError("a count is negative")
    except (KeyError, ValueError) as error:  # msgspec's ValidationError is a ValueError
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(
            f"{path} does not say where its run stands: {reason}",
            "it was written by another version of fcoslite, or edited; start a new run from the run's weights",
        ) from None
    return position


def _assign(model: keras.Model, arrays: dict[str, np.ndarray], factor: int, path: Path) -> None:
    variables = _variables(model)
    if factor > 1:
        # without accumulation there was nothing to accumulate in
        arrays = {
            key: np.zeros(variable.shape) for key, variable in variables.items() if key.startswith("sum")
        } | arrays
        # sums and counts of batches: of more batches, now
        arrays = {key: array * factor if key.startswith(_PER_BATCH) else array for key, array in arrays.items()}
    shapes = {key: tuple(variable.shape) for key, variable in variables.items()}
    if shapes != {key: array.shape for key, array in arrays.items()}:
        raise RunError(
            f"{path} is of another model or optimizer", "resume with the settings and the version of the run"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


_PER_BATCH = ("count", "metric", "sum")


def _variables(model: keras.Model) -> dict[str, Any]:
    """All state by kind and position: Keras numbers the names of optimizers and seeds within a process."""
    outer, inner = model.optimizer, inner_optimizer(model)
    kinds = {id(variable): "sum" for variable in inner.accumulated}
    kinds |= {id(optimizer._iterations): "count" for optimizer in (outer, inner)}
    groups: dict[str, list[Any]] = {"model": list(model.variables), "metric": list(model.metrics_variables)}
    for variable in outer.variables:
        groups.setdefault(kinds.get(id(variable), "optimizer"), []).append(variable)
    return {f"{kind}{index:05d}": v for kind, variables in groups.items() for index, v in enumerate(variables)}
