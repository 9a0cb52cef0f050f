"""`train`, `finetune` and `eval`, killed at random moments, end with the same numbers as if left alone."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcoslite.data.records import build_records
from fcoslite.models.arrays import read_arrays
from fcoslite.runs import Run, list_runs
from tests.faults.processes import kill_and_repeat, report, run_undisturbed
from tests.faults.test_data_kills import KILLS, enlarged

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")]

LOCK = "runs/*/.lock"

# a slim model; a checkpoint every half a second, and one within every accumulation
CONFIG = """
extends: smoke
name: slim
checkpoint_minutes: 0.01
model: {head_depth: 1, neck_channels: 32, head_channels: 16, image_size: 64}
augment: {scale: [0.8, 1.5], mosaic: 0.5, mosaic_off_epochs: 1}
compute: {batch_size: 4, accumulation: 5}
train: {epochs: 5, warmup_steps: 2, ema: 0.9, validate_every: 1}
finetune: {epochs: 5, ema: 0.9, validate_every: 1}
"""


@pytest.fixture(scope="module")
def workspace(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records, a config, and a run of the first chunk to start from."""
    folder = tmp_path_factory.mktemp("kills")
    build_records(enlarged(demo_data, folder / "data", copies=4), folder / "records", image_size=64)
    (folder / "slim.yaml").write_text(CONFIG)
    run_undisturbed(["train", "--chunk", "1", *OPTIONS], folder)
    return folder


OPTIONS = ["--config", "slim.yaml"]
BEGIN = {"train": ["train", "--chunk", "2", *OPTIONS], "finetune": ["finetune", *OPTIONS]}


def _newest(folder: Path) -> Run:
    return list_runs(folder / "runs")[-1]


def _result(run: Run) -> dict[str, Any]:
    """Every number a run ends with, but for the clock's."""
    files = [max(run.checkpoints.glob("state-*.npz")), run.best_weights, run.last_weights]
    arrays = {f"{path.name} {key}": array for path in files for key, array in read_arrays(path)[0].items()}
    headers = {path.name: read_arrays(path)[1] for path in files}
    lines = [{key: value for key, value in line.items() if key != "images_per_second"} for line in run.read_metrics()]
    assert len(run.metrics_file.read_text("utf-8").splitlines()) == len(lines) == 5
    return {**arrays, "headers": headers, "metrics": lines}


@pytest.mark.parametrize("verb", BEGIN)
def test_many_kills_of_training(workspace: Path, verb: str) -> None:
    before = len(list_runs(workspace / "runs"))
    undisturbed = run_undisturbed(BEGIN[verb], workspace, LOCK)
    name = _newest(workspace).name
    expected = _result(_newest(workspace))
    shutil.rmtree(_newest(workspace).path)
    ended = []

    def command() -> list[str]:
        begun = len(list_runs(workspace / "runs")) > before
        return [verb, "--resume", name] if begun else BEGIN[verb]

    def finished() -> None:
        run = _newest(workspace)
        assert run.name == name
        result = _result(run)
        assert result.keys() == expected.keys()
        for key in expected:
            np.testing.assert_equal(result[key], expected[key], err_msg=key)
        shutil.rmtree(run.path)
        ended.append(verb)

    kill_and_repeat(command, workspace, KILLS, undisturbed, finished, lock=LOCK)
    assert not [path for path in (workspace / "runs").iterdir() if path.name.startswith(".")]
    report(
        f"SIGKILL during `{verb}`",
        KILLS,
        "nothing but the steps since the last checkpoint, which were repeated",
        f"`--resume` went on; {len(ended)} runs, each bit-identical to an undisturbed one (state, weights, metrics)",
    )


def test_many_kills_of_evaluation(workspace: Path) -> None:
    command = ["eval", "--weights", "lite0", "--records", "records", "--out", "scored"]
    undisturbed = run_undisturbed(command, workspace)
    expected = _files(workspace / "scored")
    shutil.rmtree(workspace / "scored")
    ended = []

    def finished() -> None:
        assert _files(workspace / "scored") == expected
        shutil.rmtree(workspace / "scored")
        ended.append(1)

    kill_and_repeat(lambda: command, workspace, KILLS, undisturbed, finished)
    report(
        "SIGKILL during `eval`", KILLS, "nothing", f"the same command began anew; {len(ended)} results, each the same"
    )


def _files(folder: Path) -> dict[str, Any]:
    read: dict[str, Callable[[Path], Any]] = {".json": lambda path: json.loads(path.read_text("utf-8"))}
    found = {path.name: read.get(path.suffix, Path.read_bytes)(path) for path in folder.iterdir()}
    assert set(found) == {"detections.json", "ground_truth.json", "metrics.json", "precision_recall.png", "sizes.png"}
    return found
