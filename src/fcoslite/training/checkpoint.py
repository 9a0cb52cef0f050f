"""The whole state of a training run in one file, from which it goes on as if never stopped.

Model, optimizer with its accumulators and loss scale, and random state are variables of the Keras model; the data's
position follows from the step. What is not a variable (step, best score, patience) rides in the header.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fcoslite.errors import RunError, WeightsError
from fcoslite.models.weights import read_arrays, write_arrays

_KEEP = 2  # the newest may be damaged; the one before is not


@dataclass(slots=True)
class Position:
    """Where a run stands.

    Attributes:
        step: Batches trained.
        best_score: Lowest validation loss so far; None before the first.
        stale: Validations since.
    """

    step: int = 0
    best_score: float | None = None
    stale: int = 0


def save_state(model: keras.Model, position: Position, folder: Path) -> Path:
    """Write `state-<step>.npz` and drop all but the newest two."""
    path = folder / f"state-{position.step:09d}.npz"
    arrays = {key: np.asarray(variable) for key, variable in _variables(model).items()}
    write_arrays(path, arrays, {"kind": "state", **asdict(position)})
    for old in _states(folder)[:-_KEEP]:
        old.unlink()
    return path


def load_state(model: keras.Model, folder: Path) -> Position:
    """Load the newest state that is whole into a compiled and built model.

    Raises:
        RunError: There is none, or it is of another model.
    """
    damaged = []
    for path in reversed(_states(folder)):
        try:
            arrays, header = read_arrays(path)
        except WeightsError as error:
            damaged.append(str(error))
            continue
        variables = _variables(model)
        if {key: tuple(variable.shape) for key, variable in variables.items()} != {
            key: array.shape for key, array in arrays.items()
        }:
            raise RunError(f"{path} is of another model or optimizer", "resume with the settings of the run")
        for name, variable in variables.items():
            variable.assign(arrays[name])
        return Position(header["step"], header["best_score"], header["stale"])
    detail = f" ({damaged[0]})" if damaged else ""
    raise RunError(f"{folder} holds no whole training state{detail}", "start a new run from its weights, if any")


def has_state(folder: Path) -> bool:
    """Whether there is anything to resume from."""
    return bool(_states(folder))


def _variables(model: keras.Model) -> dict[str, Any]:
    # by position: Keras numbers the names of optimizers and seeds within a process
    variables = [*model.variables, *model.optimizer.variables]
    return {f"{index:05d}": variable for index, variable in enumerate(variables)}


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.npz"))
