"""Training on real Ray clusters of this machine, whose workers and nodes are killed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import fcoslite
from fcoslite.errors import ConfigError
from fcoslite.storage.locks import locked
from fcoslite.training.ray_training import Workers
from tests.object_store import BUCKET, s3_server
from tests.ports import free_port
from tests.ray_clusters import ENVIRONMENT, kill, kill_node, ray_head, ray_node, train_workers
from tests.training.test_distributed import end, lines, only_run, start, state, train_arguments

pytest.importorskip("jax")
pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")


@contextmanager
def training(arguments: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    clean = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    with subprocess.Popen(
        [sys.executable, *arguments],
        env=clean | ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def refused(arguments: list[str], seconds: float = 60, **environment: str) -> str:
    """What is said; it must end within that time, with a hint."""
    with training(arguments, **environment) as process:
        printed, _ = process.communicate(timeout=seconds)
    assert process.returncode in (1, 2), printed
    assert "error: " in printed and "hint: " in printed, printed
    return printed


@pytest.mark.parametrize(
    ("text", "counts"), [("4", (4, 4)), ("2..8", (2, 8)), ("3..3", (3, 3)), ("0", None), ("4..2", None), ("two", None)]
)
def test_how_many_workers(text: str, counts: tuple[int, int] | None) -> None:
    if counts is None:
        with pytest.raises(ConfigError, match="is no number of workers"):
            Workers.parse(text)
    else:
        workers = Workers.parse(text)
        assert (workers.least, workers.most) == counts


def test_what_needs_no_cluster_to_be_refused(workspace: Path, tmp_path: Path) -> None:
    arguments = train_arguments(workspace, tmp_path / "runs", "--workers", "2")
    assert "on JAX only" in refused(arguments, KERAS_BACKEND="tensorflow")
    assert "no Ray cluster at" in refused([*arguments, "--address", f"127.0.0.1:{free_port()}"])
    assert "exclude each other" in refused([*arguments, "--distributed"])
    assert "are for --workers" in refused([*arguments[:-2], "--address", "auto"])
    assert not (tmp_path / "runs").exists()


@pytest.mark.cluster
def test_workers_that_are_killed_cost_steps_only(workspace: Path, tmp_path: Path) -> None:
    """At five random moments; bit for bit the state of a run that nobody has disturbed, and started by hand."""
    epochs = ("--epochs", "40", "--checkpoint-every", "0.02", "--set", "train.validate_every=8")
    whole = end(start(train_arguments(workspace, tmp_path / "whole", *epochs, "--distributed"), 2))
    assert [code for code, _ in whole] == [0, 0], whole
    moments = random.Random(20)
    arguments = train_arguments(workspace, tmp_path / "runs", *epochs, "--workers", "2")
    with ray_head(2) as address, training([*arguments, "--address", address]) as process:
        killed: set[int] = set()
        for _ in range(5):
            while not (workers := sorted(set(train_workers()) - killed)):
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.1)
            time.sleep(moments.uniform(0, 25))
            assert process.poll() is None, process.communicate()[0]
            kill(moments.choice(workers))
            killed |= set(workers)
        printed, _ = process.communicate(timeout=900)
    assert process.returncode == 0, printed
    assert "all begin again" in printed, printed
    run = only_run(tmp_path / "runs")
    assert [line["epoch"] for line in lines(run)] == list(range(1, 41))
    expected = state(only_run(tmp_path / "whole"))
    for name, array in state(run).items():
        np.testing.assert_array_equal(array, expected[name])
    ours, theirs = ([line.get("val_ap") for line in lines(only_run(tmp_path / name))] for name in ("runs", "whole"))
    assert ours == theirs and ours[-1] is not None


@pytest.mark.cluster
def test_a_lost_node_leaves_fewer_workers(workspace: Path, tmp_path: Path) -> None:
    arguments = train_arguments(workspace, tmp_path / "runs", "--epochs", "4", "--workers", "1..2")
    with ray_head(1) as address, ray_node(address, 1) as node, training([*arguments, "--address", address]) as process:
        log = tmp_path / "runs" / "train-smoke-001" / "run.log"
        while not (log.is_file() and "epoch 1/4" in log.read_text()):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        assert len(train_workers()) == 2
        kill_node(node)
        while "resuming" not in log.read_text():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        assert len(train_workers()) == 1
        printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    assert "begin again, from step" in printed
    assert [line["epoch"] for line in lines(only_run(tmp_path / "runs"))] == [1, 2, 3, 4]


@pytest.mark.cluster
def test_a_signal_stops_all_workers_and_fewer_go_on(workspace: Path, tmp_path: Path) -> None:
    arguments = train_arguments(workspace, tmp_path / "runs", "--epochs", "3", "--workers", "2")
    log = tmp_path / "runs" / "train-smoke-001" / "run.log"
    with ray_head(2) as address:
        with training([*arguments, "--address", address]) as process:
            while not (log.is_file() and "epoch 1/3" in log.read_text()):
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            printed, _ = process.communicate(timeout=120)
        assert process.returncode == 143 and "all is saved" in printed, printed
        assert not train_workers()
        words = ["train", "--resume", str(log.parent), "--set", f"workspace.runs={tmp_path / 'runs'}"]
        with training(["-m", "fcoslite", *words, "--workers", "1", "--address", address, "--json"]) as process:
            printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
        assert json.loads(printed[printed.index("{") :])["epochs"] == 3
    assert [line["epoch"] for line in lines(log.parent)] == [1, 2, 3]


@pytest.mark.cluster
def test_what_a_cluster_cannot_do_is_told(workspace: Path, tmp_path: Path) -> None:
    """More workers than there is room for, a batch that they cannot share, another version of fcoslite."""
    arguments = train_arguments(workspace, tmp_path / "runs")
    with ray_head(2) as address:
        at = ("--address", address)
        assert "room for 2 workers" in refused([*arguments, "--workers", "4", *at])
        batch = ("--set", "compute.batch_size=3", "--set", "compute.accumulation=1")
        assert "multiple of 2" in refused([*arguments, "--workers", "2", *at, *batch])
    other = tmp_path / "other"
    shutil.copytree(Path(fcoslite.__file__).parent, other / "fcoslite")
    init = other / "fcoslite" / "__init__.py"
    text = init.read_text()
    assert '__version__ = version("fcoslite")' in text
    init.write_text(text.replace('version("fcoslite")', '"9.9.9"'))
    with ray_head(0) as address, ray_node(address, 1, packages=other):
        assert "has fcoslite 9.9.9" in refused([*arguments, "--workers", "1", "--address", address])
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.cluster
def test_an_error_of_one_worker_ends_all(workspace: Path, tmp_path: Path) -> None:
    """The first one finds that the run is trained by another process; the others wait for it."""
    arguments = train_arguments(workspace, tmp_path / "runs", "--epochs", "1")
    with training(arguments, KERAS_BACKEND="jax") as process:
        process.communicate(timeout=300)
    run = only_run(tmp_path / "runs")
    words = ["train", "--resume", str(run), "--set", f"workspace.runs={tmp_path / 'runs'}", "--workers", "2"]
    with ray_head(2) as address, locked(run / ".lock", str(run)):
        assert "is being written by" in refused(["-m", "fcoslite", *words, "--address", address], 180)


@pytest.mark.cluster
def test_from_photographs_in_a_bucket_to_a_detector(demo_data: Path, tmp_path: Path) -> None:
    """On two nodes; a worker is killed, then a node, and at last one worker finishes what two have begun."""
    with s3_server() as environment, ray_head(1) as address, ray_node(address, 1) as node:
        from fcoslite.storage.places import place

        for path in (demo_data / "annotations.json", *sorted((demo_data / "images").iterdir())):
            place(f"s3://{BUCKET}/data/{path.relative_to(demo_data).as_posix()}").write_bytes(path.read_bytes())
        environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        build = ["build-records", "--data", f"s3://{BUCKET}/data", "--out", f"s3://{BUCKET}/records", "--size", "64"]
        with training(["-m", "fcoslite", *build, "--engine", "ray", "--address", address], **environment) as process:
            printed, _ = process.communicate(timeout=180)
        assert process.returncode == 0, printed
        arguments = train_arguments(tmp_path, tmp_path / "runs", "--epochs", "6", "--address", address)
        arguments[arguments.index("--records") + 1] = f"s3://{BUCKET}/records"
        log = tmp_path / "runs" / "train-smoke-001" / "run.log"

        def wait_for(text: str) -> None:
            while not (log.is_file() and text in log.read_text()):
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.1)

        with training([*arguments, "--workers", "1..2"], **environment) as process:
            wait_for("epoch 1/6")
            kill(train_workers()[1])
            wait_for("resuming")
            wait_for("epoch 3/6")
            kill_node(node)
            printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    assert printed.count("begin again") == 2, printed
    assert [line["epoch"] for line in lines(log.parent)] == list(range(1, 7))
    for path in (path for path in log.parent.rglob("*") if path.is_file()):
        assert environment["AWS_SECRET_ACCESS_KEY"].encode() not in path.read_bytes()
    assert environment["AWS_SECRET_ACCESS_KEY"] not in printed


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs a namespace of mounts")
def test_records_that_a_worker_cannot_see_are_told(workspace: Path, tmp_path: Path) -> None:
    arguments = train_arguments(workspace, tmp_path / "runs", "--workers", "2")
    with ray_head(1) as address, ray_node(address, 1, hidden=workspace / "records"):
        printed = refused([*arguments, "--address", address], 120)
    assert str(workspace / "records") in printed
    assert not list((tmp_path / "runs").glob("train*"))
