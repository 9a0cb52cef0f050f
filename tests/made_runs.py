"""Run directories, made without training."""

from pathlib import Path
from typing import Any

from fcoslite.config.settings import Settings
from fcoslite.runs.run import Run, create_run


def make_run(folder: Path, verb: str = "train", name: str = "mission", weights: bool = True, **facts: Any) -> Run:
    """A run of the default settings; its weights are a file of that name and no more."""
    run = create_run(folder, verb, name, Settings(), facts)
    if weights:
        run.best_weights.write_bytes(b"weights")
    return run
