"""`train`, `finetune` and `eval`, killed at random moments, end with the same numbers as if left alone."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fcoslite.runs.run import Run, list_runs
from tests.faults.processes import kill_and_repeat, report, run_undisturbed
from tests.faults.slim import assert_same_numbers, numbers_of, prepare
from tests.faults.test_data_kills import KILLS

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")]

LOCK = "runs/*/.lock"
OPTIONS = ["--config", "slim.yaml"]
BEGIN = {"train": ["train", "--chunk", "2", *OPTIONS], "finetune": ["finetune", *OPTIONS]}


@pytest.fixture(scope="module")
def workspace(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records, a config, and a run of the first chunk to start from."""
    folder = tmp_path_factory.mktemp("kills")
    prepare(demo_data, folder)
    run_undisturbed(["train", "--chunk", "1", *OPTIONS], folder)
    return folder


def newest_run(folder: Path) -> Run:
    return list_runs(folder / "runs")[-1]


@pytest.mark.parametrize("verb", BEGIN)
def test_many_kills_of_training(workspace: Path, verb: str) -> None:
    before = len(list_runs(workspace / "runs"))
    first = run_undisturbed(BEGIN[verb], workspace, LOCK)
    name = newest_run(workspace).name
    expected = numbers_of(newest_run(workspace))
    shutil.rmtree(newest_run(workspace).path)
    # The second tells two things: that two runs alike end alike at all, and how long one takes when the other worker
    # happens to be idle. Had the time come from a slow one, most kills would come too late.
    second = run_undisturbed(BEGIN[verb], workspace, LOCK)
    assert_same_numbers(newest_run(workspace), expected)
    shutil.rmtree(newest_run(workspace).path)
    undisturbed = min(first, second, key=lambda run: run.seconds - run.began)
    ended = []

    def command() -> list[str]:
        begun = len(list_runs(workspace / "runs")) > before
        return [verb, "--resume", name] if begun else BEGIN[verb]

    def finished() -> None:
        run = newest_run(workspace)
        assert run.name == name
        assert_same_numbers(run, expected)
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
    command = ["eval", "--weights", "train-slim-chunk1-001", "--out", "scored"]
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
