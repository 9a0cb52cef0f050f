"""Does every tier hold its memory? Training steps of each packaged GPU config, JAX's allocator capped at its limit.

Each config trains in a process of its own that gets no more GPU memory than `compute.memory_limit_mb`, so that it fails
if it needs more. The most that it took is what JAX tells.

Run: KERAS_BACKEND=jax python -m benchmarks.gpu_memory [CONFIG ...] [--out FOLDER]
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras

from benchmarks.random_batches import random_batch
from benchmarks.table import Must, Row, finish_stage, stage_parser
from fcoslite.config.load import load_settings
from fcoslite.machine.backend import sees_gpu
from fcoslite.machine.gpus import driver_gpus
from fcoslite.machine.tiers import TIERS, choose_precision
from fcoslite.models.detector import build_detector
from fcoslite.training.model import build_training_model

CONFIGS = ("mission", *(f"vram-{tier}gb" for tier in sorted(TIERS)))
BOXES = 40
_MIB = 2**20
_MISSION_LIMIT = 3500  # of the 4 GB that it was made for, as vram-4gb has it


def limit_mib(config: str) -> int:
    """MiB that training by this config may take."""
    return load_settings(config).compute.memory_limit_mb or _MISSION_LIMIT


def train_steps(config: str) -> dict[str, float]:
    """Make two updates; MiB that JAX took at most and could have taken, and the losses."""
    import jax

    settings = load_settings(config, values={"model.classes": ["person"]})
    compute = settings.compute
    detector = build_detector(settings.model, choose_precision(compute.precision), seed=0)
    steps = 2 * compute.accumulation
    model = build_training_model(detector, settings, settings.train, steps)
    batch = random_batch(compute.batch_size, BOXES)
    history = model.fit(((batch,) for _ in itertools.count()), steps_per_epoch=steps, verbose=0, shuffle=False)
    taken = jax.devices()[0].memory_stats()
    return {"peak": taken["peak_bytes_in_use"] / _MIB, "cap": taken["bytes_limit"] / _MIB, **history.history}


def watched(config: str) -> dict[str, float]:
    """What `train_steps` says in a process whose memory is capped."""
    share = limit_mib(config) / driver_gpus()[0].memory_mb
    # as much as is needed up to the cap, so that what the driver shows is what it took
    cap = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{share:.4f}", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-m", "benchmarks.gpu_memory", "--here", config]
    here = Path(__file__).parents[1]
    done = subprocess.run(command, env={**os.environ, **cap}, cwd=here, capture_output=True, text=True)
    if done.returncode:
        print(f"{config}: {done.stderr[-2000:]}", file=sys.stderr)
        return {"peak": float("inf")}
    return json.loads(done.stdout.splitlines()[-1])


def measure(configs: list[str]) -> Iterator[Row]:
    """MiB."""
    if not sees_gpu() or keras.backend.backend() != "jax":
        raise SystemExit("this needs a GPU and KERAS_BACKEND=jax")
    for config in configs:
        found, limit = watched(config), limit_mib(config)
        settings = load_settings(config)
        yield Row(
            stage="memory on a GPU",
            what=f"`{config}`: `{settings.model.preset}` at {settings.model.image_size}, "
            f"batches of {settings.compute.batch_size}",
            unit="MiB",
            ours=found["peak"],
            limit=limit,
            limit_is="cap of the allocator",
            fraction=found["peak"] / limit,
            must=Must("fraction", "≤", 1),
        )


def main() -> None:
    """Print the table, or train in this process."""
    parser = stage_parser(__doc__)
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help=f"of {', '.join(CONFIGS)}; all by default")
    parser.add_argument("--here", metavar="CONFIG", help="train in this process, and say what it took")
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(train_steps(arguments.here)))
        return
    # the parent computes nothing; its share must not be taken from the children's
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    finish_stage(measure(arguments.configs or list(CONFIGS)), arguments.out)


if __name__ == "__main__":
    main()
