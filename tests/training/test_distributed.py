"""Two processes that train together, on JAX."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fcoslite.data.records.build import build_records
from fcoslite.machine.distribute import Group
from fcoslite.storage.arrays import read_arrays
from tests.ports import free_port
from tests.training.conftest import SLIM

pytest.importorskip("jax")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="JAX has no collectives for Windows")


def start(arguments: Sequence[str], count: int, **environment: str) -> list[subprocess.Popen[str]]:
    """Python with these arguments, as torchrun would start it `count` times."""
    port = str(free_port())
    processes = []
    for rank in range(count):
        launched = {"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        processes.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", **environment, **launched},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return processes


def end(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit code and output of each."""
    printed = [process.communicate(timeout=600)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, printed, strict=True)]


EXCHANGE = """
import sys
from fcoslite.errors import DataError
from fcoslite.machine.distribute import all_or_none, from_first, gather, join

group = join()
assert gather({"rank": group.index}) == [{"rank": 0}, {"rank": 1}]
assert gather("a" * (1 + 5000 * group.index)) == ["a", "a" * 5001]
assert from_first(lambda: f"of {group.index}") == "of 0"
assert all_or_none(lambda: group.index) == group.index

def fail():
    if group.index == int(sys.argv[1]):
        raise DataError("no such folder", "look")
    return gather(1)  # the other one is here already

try:
    all_or_none(lambda: all_or_none(fail))
except Exception as error:
    print(type(error).__name__, error)
assert gather(group.index) == [0, 1]  # and they are in step again
"""


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_one_ends_all_at_the_same_place(failing: int) -> None:
    results = end(start(["-c", EXCHANGE, str(failing)], 2))
    assert [code for code, _ in results] == [0, 0], results
    assert "DataError no such folder" in results[failing][1]
    assert f"process {failing} cannot go on: no such folder" in results[1 - failing][1]


CHECK = """
import sys
from pathlib import Path
from fcoslite.config.settings import ComputeSettings, DataSettings
from fcoslite.data.sources.records import RecordSource
from fcoslite.machine.distribute import all_or_none, group, join

group = join()
records = RecordSource.open(Path(sys.argv[1]), DataSettings(), ComputeSettings())
print("bad", sorted(all_or_none(lambda: records.checked(skip_bad_records=True)).bad))
try:
    all_or_none(records.checked)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_what_one_finds_damaged_all_go_without(workspace: Path, tmp_path: Path) -> None:
    build_records(workspace / "data", tmp_path / "records", image_size=64, records_per_shard=8)
    [first, *_] = sorted((tmp_path / "records").glob("*.tfrecord"))
    content = bytearray(first.read_bytes())
    content[40] ^= 1
    first.write_bytes(content)
    for code, printed in end(start(["-c", CHECK, str(tmp_path / "records")], 2)):
        assert code == 0, printed
        assert "bad [0]" in printed and "DataError 1 of" in printed, printed


def train_arguments(workspace: Path, runs: Path, *more: str) -> list[str]:
    settings = [*SLIM, f"workspace.runs={runs}", f"workspace.mlflow_uri=sqlite:///{runs}.db", "train.steps_per_epoch=6"]
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["-m", "fcoslite", "train", "-c", "smoke", "--records", str(workspace / "records"), *sets, *more]


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_train_what_one_does(workspace: Path, tmp_path: Path) -> None:
    # one update: Adam's steps are of one size, so where a gradient is nearly 0 rounding decides their direction
    once = ("--epochs", "1", "--set", "train.steps_per_epoch=3")
    together = start(train_arguments(workspace, tmp_path / "two", *once, "--distributed"), 2)
    [(code, printed), (other_code, silence)] = end(together)
    assert (code, other_code) == (0, 0), printed + silence
    [alone] = end(start(train_arguments(workspace, tmp_path / "one", *once), 1))
    assert alone[0] == 0, alone[1]
    [two], [one] = ((tmp_path / folder).iterdir() for folder in ("two", "one"))  # one run each: the first process'
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())
    for ours, its in zip(lines(two), lines(one), strict=True):
        assert ours.keys() == its.keys()
        assert ours["loss"] == pytest.approx(its["loss"], rel=1e-3)
        assert ours["val_ap50"] == pytest.approx(its["val_ap50"], abs=0.02)
    weights, expected = (read_arrays(run / "checkpoints" / "last.npz")[0] for run in (two, one))
    for name, array in expected.items():
        np.testing.assert_allclose(weights[name], array, atol=2e-3)
    moments, expected = state(two), state(one)  # Adam's, which are the gradients' mean and the mean of their squares
    for name in (name for name in expected if name.startswith("optimizer")):
        assert np.linalg.norm(moments[name] - expected[name]) <= 0.02 * np.linalg.norm(expected[name]), name
    assert "AP" in printed and not re.search(r"epoch|AP", silence)


def state(run: Path) -> dict[str, np.ndarray]:
    [*_, newest] = sorted((run / "checkpoints").glob("state-*.npz"))
    return read_arrays(newest)[0]


def only_run(folder: Path) -> Path:
    [run] = folder.iterdir()
    return run


def stop_in_the_second_epoch(processes: list[subprocess.Popen[str]], run_log: Path, which: int, number: int) -> None:
    while not (run_log.is_file() and "epoch 1/2" in run_log.read_text()):
        assert processes[0].poll() is None, processes[0].communicate()[0]
        time.sleep(0.05)
    processes[which].send_signal(number)


@pytest.mark.cluster
def test_a_signal_to_one_stops_both_and_resuming_loses_nothing(workspace: Path, tmp_path: Path) -> None:
    epochs = ("--epochs", "2", "--distributed")
    assert [code for code, _ in end(start(train_arguments(workspace, tmp_path / "whole", *epochs), 2))] == [0, 0]
    arguments = train_arguments(workspace, tmp_path / "stopped", *epochs)
    processes = start(arguments, 2)
    stop_in_the_second_epoch(processes, tmp_path / "stopped" / "train-smoke-001" / "run.log", 1, signal.SIGTERM)
    stopped = end(processes)
    assert [code for code, _ in stopped] == [143, 143], stopped
    run = only_run(tmp_path / "stopped")
    assert "all is saved" in (run / "run.log").read_text()
    for count, folder in ((2, "two"), (1, "one")):
        shutil.copytree(run, tmp_path / folder / run.name)
        words = ["train", "--resume", str(tmp_path / folder / run.name), "--set", f"workspace.runs={tmp_path / folder}"]
        results = end(start(["-m", "fcoslite", *words, *(["--distributed"] if count > 1 else [])], count))
        assert [code for code, _ in results] == [0] * count, results
    whole = state(only_run(tmp_path / "whole"))
    for name, array in state(only_run(tmp_path / "two")).items():
        np.testing.assert_array_equal(array, whole[name])
    for name, array in state(only_run(tmp_path / "one")).items():
        np.testing.assert_allclose(array, whole[name], atol=2e-3, rtol=2e-3)
    logged = [[line["step"] for line in lines(only_run(tmp_path / name))] for name in ("whole", "two", "one")]
    assert logged == [[6, 12]] * 3


@pytest.mark.cluster
@pytest.mark.parametrize("which", [0, 1])
def test_where_one_is_killed_the_other_ends_and_the_run_goes_on(workspace: Path, tmp_path: Path, which: int) -> None:
    epochs = ("--epochs", "2", "--distributed")
    processes = start(train_arguments(workspace, tmp_path / "runs", *epochs), 2)
    stop_in_the_second_epoch(processes, tmp_path / "runs" / "train-smoke-001" / "run.log", which, signal.SIGKILL)
    began = time.monotonic()
    codes = [code for code, _ in end(processes)]
    assert codes[which] == -signal.SIGKILL and codes[1 - which] != 0
    assert time.monotonic() - began < 60
    words = ["train", "--resume", str(only_run(tmp_path / "runs")), "--distributed"]
    results = end(start(["-m", "fcoslite", *words, "--set", f"workspace.runs={tmp_path / 'runs'}"], 2))
    assert [code for code, _ in results] == [0, 0], results
    assert [line["epoch"] for line in lines(only_run(tmp_path / "runs"))] == [1, 2]


@pytest.mark.cluster
def test_wrong_use_is_told(workspace: Path, tmp_path: Path) -> None:
    """Of one process without a launcher, on TensorFlow, and with a batch that cannot be shared."""
    arguments = train_arguments(workspace, tmp_path / "runs", "--distributed")
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    for added, message in (({}, "do not come together"), ({"KERAS_BACKEND": "tensorflow"}, "on JAX only")):
        done = subprocess.run(
            [sys.executable, *arguments], env=environment | added, capture_output=True, text=True, timeout=60
        )
        assert done.returncode and message in done.stderr and "hint: " in done.stderr, done.stderr
    results = end(start([*arguments, "--set", "compute.batch_size=3"], 2))
    assert all(code == 2 and "multiple of 2" in text for code, text in results), results
    assert not (tmp_path / "runs").exists()


def test_parts_are_even_and_whole() -> None:
    for count in (0, 1, 7, 8, 100):
        parts = [Group(index, 3).part(count) for index in range(3)]
        assert [place for part in parts for place in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
