"""What else can befall a run: full disks, damaged states, signals, MLflow in trouble, a lack of memory, NaN."""

import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.errors import BusyError, RunError
from fcoslite.models.detector import build_detector
from fcoslite.runs.figures import is_figure
from fcoslite.runs.mlflow_copy import sync_runs
from fcoslite.runs.run import Run
from fcoslite.storage.arrays import read_arrays
from fcoslite.training import loop
from fcoslite.training.checkpoint import load_state, write_state
from fcoslite.training.plan import plan_resume, plan_run
from tests.disks import SmallDisk
from tests.faults.processes import PATIENCE, report, run_undisturbed, start
from tests.faults.slim import assert_same_numbers, numbers_of, prepare

pytestmark = pytest.mark.faults

# what a checkpoint holds does not matter; without, the graph is half as large
QUICK = ("train.epochs=2", "train.ema=0", "compute.accumulation=1", "augment.mosaic=0", "augment.scale=[1, 1]")


@pytest.fixture(scope="module")
def workspace(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    prepare(demo_data, folder)
    return folder


def _settings(workspace: Path, runs: Path, *overrides: str) -> Settings:
    places = [f"workspace.runs={runs}", f"workspace.mlflow_uri=sqlite:///{workspace / 'mlflow.db'}"]
    return load_settings(workspace / "slim.yaml", [*places, *overrides])


def _train(workspace: Path, runs: Path, *overrides: str) -> Run:
    plan = plan_run("train", _settings(workspace, runs, *overrides), workspace / "records", chunk=1)
    return loop.train(plan, runs).run


def _resume(run: Run) -> Run:
    return loop.resume(plan_resume(run), run).run


@pytest.fixture(scope="module")
def undisturbed(workspace: Path) -> dict[str, Any]:
    """What a run ends with if nothing happens."""
    return numbers_of(_train(workspace, workspace / "runs"))


def test_full_disks(
    workspace: Path, undisturbed: dict[str, Any], small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as if there had been room at the start
    monkeypatch.setattr("fcoslite.storage.space.free_bytes", lambda folder: 10**12)
    run = Run(small_disk.path / "runs" / "train-slim-chunk1-001")
    small_disk.resize(200 * 2**20)
    written = _size(_train(workspace, run.path.parent).path)
    shutil.rmtree(run.path)
    rooms = [round(written * share) for share in (0.1, 0.4, 0.7, 0.95)]
    for room in rooms:  # from one that the first state does not fit into, to one that the last weights do not
        small_disk.resize(room)
        with pytest.raises(OSError, match="No space left on device"):
            _resume(run) if run.path.exists() else _train(workspace, run.path.parent)
    small_disk.resize(200 * 2**20)
    assert_same_numbers(_resume(run), undisturbed)
    report(
        "disk full during `train`", len(rooms), "nothing", "exit 1; once there was room `--resume` ended bit-identical"
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_damaged_states(workspace: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    run = Run(workspace / "runs" / "train-slim-chunk1-001")
    plan = plan_resume(run)
    detector = build_detector(plan.settings.model)
    model = loop.build_training_model(detector, plan.settings, plan.schedule, 1000)
    before, newest = sorted(run.checkpoints.glob("state-*.npz"))
    expected = read_arrays(before)[0]
    whole = newest.read_bytes()
    chance = random.Random(0)
    done: Counter[str] = Counter()
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(before, folder)
        kind = chance.choice(["cut off", "one flipped bit", "empty"])
        content = bytearray(whole)
        if kind == "one flipped bit":
            # anywhere within the arrays; the zip's own dates and attributes mean nothing
            content[chance.randrange(len(content) // 10, len(content) * 9 // 10)] ^= 1 << chance.randrange(8)
        else:
            del content[0 if kind == "empty" else chance.randrange(len(content)) :]
        (folder / newest.name).write_bytes(content)
        position = load_state(model, folder, plan.settings.compute.batch_size, plan.steps_per_epoch)
        assert f"{position.step:09d}" in before.name
        write_state(folder / "loaded.npz", model, position)
        np.testing.assert_equal(read_arrays(folder / "loaded.npz")[0], expected)
        assert not (folder / newest.name).exists()
        shutil.rmtree(folder)
        done[kind] += 1
    for kind, times in sorted(done.items()):
        report(
            f"newest training state: {kind}", times, "the steps since the state before", "a warning; that one is taken"
        )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(workspace: Path, tmp_path: Path, number: signal.Signals) -> None:
    shutil.copytree(workspace / "records", tmp_path / "records")
    shutil.copy(workspace / "slim.yaml", tmp_path)
    chance = random.Random(int(number))
    first = ["train", "--chunk", "1", "--config", "slim.yaml"]
    run = Run(tmp_path / "runs" / "train-slim-chunk1-001")
    run_undisturbed(first, tmp_path)
    undisturbed = numbers_of(run)  # in a process of its own, as those that follow
    shutil.rmtree(run.path)
    ended: Counter[int] = Counter()
    times = 3
    while ended[128 + number] < times:
        started = time.time()
        process = start([*first, "--resume", run.name] if run.path.exists() else first, tmp_path)
        _wait_until_trained(run, process, started)
        time.sleep(chance.uniform(0, 2))
        process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE)
        ended[process.returncode] += 1
        if process.returncode == 128 + number and "all is saved" in output:
            assert f"--resume runs/{run.name}" in output, output
        else:  # it came to its end, or was past it
            assert process.returncode in (0, -number, 128 + number), output
            assert_same_numbers(run, undisturbed)
            shutil.rmtree(run.path)
    run_undisturbed([*first, "--resume", run.name], tmp_path)
    assert_same_numbers(run, undisturbed)
    report(f"{number.name} during `train`", times, "nothing", f"exit {128 + number}; `--resume` ended bit-identical")


def _wait_until_trained(run: Run, process: subprocess.Popen[str], started: float) -> None:
    """Until this process trains, and so has written a state."""
    patience = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < patience:
        with suppress(FileNotFoundError):  # an older one was deleted
            if any(path.stat().st_mtime > started for path in run.checkpoints.glob("state-*.npz")):
                return
        time.sleep(0.01)


def test_a_second_process(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = loop.Journal.on_epoch_end

    def second(self: loop.Journal, epoch: int, logs: Any = None) -> None:
        process = start(["train", "--resume", str(self.recorder.run.path)], workspace)
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1 and "is being written by process" in output, output
        with pytest.raises(BusyError):
            _resume(self.recorder.run)
        seen.append(output)
        original(self, epoch, logs)

    monkeypatch.setattr(loop.Journal, "on_epoch_end", second)
    run = _train(workspace, tmp_path / "runs", *QUICK)
    assert len(seen) == len(run.read_metrics()) == 2
    report("a second `train` in the same run", 2, "nothing", "the second one is refused, exit 1; the first goes on")


@pytest.mark.parametrize("trouble", ["garbage", "truncated", "locked", "dead server", "silent server", "full disk"])
def test_mlflow(
    workspace: Path, tmp_path: Path, small_disk: SmallDisk, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    with _mlflow_in_trouble(trouble, tmp_path, small_disk) as uri, caplog.at_level("WARNING"):
        run = _train(workspace, tmp_path / "runs", *QUICK, f"workspace.mlflow_uri={uri}")
    assert caplog.text.count("MLflow does not follow this run") == 1
    assert len(run.read_metrics()) == 2
    store = f"sqlite:///{tmp_path / 'whole.db'}"
    [synced] = sync_runs([run], store)
    assert synced.points == sum(is_figure(value) for line in run.read_metrics() for value in line.values()) - 2
    assert [again.points for again in sync_runs([run], store)] == [0]
    ended = "trained on, one warning; `runs sync` entered all points once"
    report(f"MLflow: {trouble}", 1, "nothing", ended)


@contextmanager
def _mlflow_in_trouble(trouble: str, folder: Path, disk: SmallDisk) -> Iterator[str]:
    database = folder / "mlflow.db"
    if trouble.endswith("server"):
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            if trouble == "silent server":
                server.listen(8)  # the system accepts; nobody will answer
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        return
    if trouble == "full disk":
        disk.resize(64 * 1024)
        database = disk.path / "mlflow.db"
    elif trouble == "garbage":
        database.write_bytes(random.Random(0).randbytes(10_000))
    else:
        with closing(sqlite3.connect(database)) as made:
            made.execute("create table anything as select randomblob(50000)")
            made.commit()
    if trouble == "truncated":
        database.write_bytes(database.read_bytes()[:20_000])
    with closing(sqlite3.connect(database)) as other:
        if trouble == "locked":
            other.execute("begin exclusive")
        yield f"sqlite:///{database}"


def test_lack_of_memory(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorflow.errors import ResourceExhaustedError

    original = loop.Journal.on_train_batch_end
    fails: set[tuple[int, int]] = set()

    def exhausting(self: loop.Journal, batch: int, logs: Any = None) -> None:
        original(self, batch, logs)
        place = (self.position.batch_size, self.position.step)
        if place in fails:
            fails.remove(place)
            raise ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[4,64,64,32]")

    monkeypatch.setattr(loop.Journal, "on_train_batch_end", exhausting)
    times = 0
    for number, places in enumerate([{(4, 1)}, {(4, 9), (2, 25)}]):
        fails |= places
        run = _train(workspace, tmp_path / str(number), "train.epochs=3")
        assert not fails
        compute = run.settings().compute
        assert (compute.batch_size, compute.accumulation) == (4 // 2 ** len(places), 5 * 2 ** len(places))
        assert [line["epoch"] for line in run.read_metrics()] == [1, 2, 3]
        times += len(places)
    ended = "batch halved, accumulation doubled, went on from the last state"
    report("out of memory in a step (injected)", times, "the steps since that state", ended)


def test_infinite_numbers(workspace: Path, tmp_path: Path) -> None:
    rates = ("train.lr_max=1000", "train.lr_start=1000", "train.clip_norm=1000000", "compute.accumulation=1")
    with pytest.raises(RunError, match="infinite or NaN at step"):
        _train(workspace, tmp_path, *rates)
    [dump] = tmp_path.glob("*/not-finite-*.npz")
    assert dump.stat().st_size > 0
    report("a loss that is infinite or NaN", 1, "nothing", "exit 1; step and image ids named, state kept to look at")
