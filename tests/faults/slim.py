"""A narrow detector on the embedded photographs: every part is real, and a run takes seconds."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.data.records.build import build_records
from fcoslite.runs.run import Run
from fcoslite.storage.arrays import read_arrays
from tests.faults.test_data_kills import enlarged

EPOCHS = 5

# One level, so that it compiles in seconds: with four, nearly every kill fell into compilation. All that a checkpoint
# must hold is switched on; it is written eight times a second, so within every accumulation.
CONFIG = f"""
extends: smoke
name: slim
checkpoint_minutes: 0.002
model: {{strides: [4], head_depth: 1, neck_channels: 32, head_channels: 16, image_size: 64}}
augment: {{scale: [0.8, 1.5], mosaic: 0.5}}
compute: {{batch_size: 4, accumulation: 5}}
train: {{epochs: {EPOCHS}, steps_per_epoch: 10, warmup_steps: 2, ema: 0.9, validate_every: 1}}
finetune: {{epochs: {EPOCHS}, steps_per_epoch: 10, ema: 0.9, validate_every: 1, keep: 0.5}}
"""


def prepare(demo_data: Path, folder: Path) -> None:
    """Put records and slim.yaml into a folder."""
    build_records(enlarged(demo_data, folder / "data", copies=4), folder / "records", image_size=64)
    (folder / "slim.yaml").write_text(CONFIG)


def numbers_of(run: Run) -> dict[str, Any]:
    """Every number that a finished run holds, but for the clock's."""
    files = [max(run.checkpoints.glob("state-*.npz")), run.best_weights, run.last_weights]
    numbers: dict[str, Any] = {"metrics": run.read_metrics()}
    assert len(run.metrics_file.read_text("utf-8").splitlines()) == len(numbers["metrics"]) == EPOCHS
    for line in numbers["metrics"]:
        line.pop("images_per_second", None)  # an epoch finished by the next sitting has none
    if run.keep_file.is_file():
        numbers["keep.json"] = json.loads(run.keep_file.read_text("utf-8"))
        files += [run.before_weights, run.tuned_weights]
    for path in files:
        arrays, header = read_arrays(path)
        header.pop("run", None)  # its name
        numbers |= {f"{path.name} {key}": array for key, array in arrays.items()} | {f"{path.name} header": header}
    return numbers


def assert_same_numbers(run: Run, expected: dict[str, Any]) -> None:
    """Fail unless a finished run holds exactly these."""
    numbers = numbers_of(run)
    assert numbers.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_equal(numbers[key], value, err_msg=key)
