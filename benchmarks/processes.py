"""Processes that work together, against threads of one process on the same two cores.

Records: Ray with two workers against two threads; what starting takes is apart, as the difference between a large and a
small set. Training: two processes of one core each against one process of two, on JAX, by the images/s of the epochs
after the first, in which the step is compiled. Linux only: processes are bound to cores.

Run: python -m benchmarks.processes [--quick] [--out FOLDER]
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.photographs import photographs
from benchmarks.table import Must, Race, Row, run_stage
from fcoslite.data.extract.extract import extract
from fcoslite.data.records.build import build_records

SIZE = 512
CORES = (0, 1)
BATCH = 8
STEPS = 4  # an epoch, and four of these: XLA is slow on a CPU


@contextmanager
def cluster() -> Iterator[str]:
    """The address of a Ray cluster with two CPUs on this machine."""
    port = _free_port()
    options = ("--head", f"--port={port}", f"--num-cpus={len(CORES)}", "--include-dashboard=false")
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options, "--disable-usage-stats", "--block"]
    os.environ["RAY_AUTH_MODE"] = "disabled"
    # by itself, Ray gives way to all else on the machine; threads do not
    niceness = {"RAY_worker_niceness": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | niceness) as head:
        assert head.stdout is not None
        for line in head.stdout:
            if "Ray runtime started" in line:
                break
        yield f"127.0.0.1:{port}"
        head.terminate()


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def records(rounds: int) -> Iterator[Row]:
    """Images a second."""
    with tempfile.TemporaryDirectory() as name, cluster() as address:
        folder = Path(name)
        small, large = (photographs(folder / str(copies), copies) for copies in (8, 40))
        more = sum(len(list((data / "images").iterdir())) * sign for data, sign in ((large, 1), (small, -1)))

        def seconds(data: Path, engine: str) -> float:
            shutil.rmtree(folder / "records", ignore_errors=True)
            began = time.perf_counter()
            build_records(
                data,
                folder / "records",
                image_size=SIZE,
                workers=len(CORES),
                records_per_shard=64,
                engine="ray" if engine == "ray" else "local",
                address=address if engine == "ray" else None,
            )
            return time.perf_counter() - began

        taken: dict[str, list[float]] = {"ray": [], "local": []}
        for number in range(rounds + 1):
            for engine in ("ray", "local") if number % 2 else ("local", "ray"):
                difference = seconds(large, engine) - seconds(small, engine)
                if number:
                    taken[engine].append(difference)
    yield Row(
        stage="processes",
        what=f"records, PNG at {SIZE}: Ray, two workers",
        unit="images/s",
        **Race(taken).rates("ray", more, reference="local"),
        reference_is="two threads",
        must=Must("ratio", "≥", 0.9),
    )


def training(rounds: int) -> Iterator[Row]:
    """Images a second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = photographs(folder / "data", 8)
        extract(data / "annotations.json", data / "images", folder / "person", link="hardlink")
        build_records(folder / "person", folder / "records", image_size=SIZE)
        taken: dict[str, list[float]] = {"two": [], "one": []}
        for number in range(rounds):
            for which in ("two", "one") if number % 2 else ("one", "two"):
                taken[which].append(1 / _train(folder, f"{which}{number}", 2 if which == "two" else 1))
    yield Row(
        stage="processes",
        what="training lite0 at 192: two processes of one core",
        unit="images/s",
        **Race(taken).rates("two", 1, reference="one"),
        reference_is="one process of two cores",
        must=Must("ratio", "≥", 0.75),
    )


def _train(folder: Path, name: str, count: int) -> float:
    settings = {
        "model.preset": "lite0",
        "model.image_size": 192,
        "compute.batch_size": BATCH,
        "compute.accumulation": 1,
        "train.steps_per_epoch": STEPS,
        "train.validate_every": 100,
        "workspace.runs": folder / name,
        "workspace.mlflow_uri": f"sqlite:///{folder}/{name}.db",
    }
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    arguments = ["train", "-c", "cpu", "--records", str(folder / "records"), "--epochs", "4", *sets]
    together = ["--distributed"] if count > 1 else []
    launched = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    processes = []
    for rank in range(count):
        cores = CORES if count == 1 else CORES[rank : rank + 1]
        command = ["taskset", "-c", ",".join(map(str, cores)), sys.executable, "-m", "fcoslite", *arguments, *together]
        environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "RANK": str(rank), **launched}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    codes = [process.wait() for process in processes]  # of all, before any is judged
    if any(codes):
        sys.exit("training has failed")
    [run] = (folder / name).iterdir()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(line["images_per_second"] for line in lines[1:-1])  # the last one ends with a validation


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Both."""
    yield from training(1 if arguments.quick else 3)
    yield from records(1 if arguments.quick else 3)


if __name__ == "__main__":
    run_stage(measure, __doc__)
