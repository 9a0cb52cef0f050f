"""Processes that train one model together, by JAX: who they are, and what they tell each other.

All of them run the same program and come to the same points in the same order; there they exchange what each of them
has, or its error, so that one that cannot go on ends all of them at once.
"""

import importlib.util
import logging
import math
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from fcoslite import __version__
from fcoslite.errors import ClusterError, ConfigError, FcosliteError

_log = logging.getLogger("fcoslite")

_Result = TypeVar("_Result")

_START_SECONDS = 50  # until all are there
_LOST_SECONDS = 10  # without a sign of life
_TOLD = "_told_to_all_processes"  # an attribute of errors
_LAUNCHERS = "start it with srun or mpirun, or with torchrun's variables RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT"


@dataclass(frozen=True)
class Group:
    """The processes that train together.

    Attributes:
        index: Of this one, from 0.
        count: Of all.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process keeps the record: it alone writes."""
        return self.index == 0

    def part(self, count: int) -> range:
        """Which of `count` things fall to this process: a stretch, as long as the others' or one longer."""
        return even_stretch(count, self.index, self.count)


def even_stretch(count: int, index: int, of: int) -> range:
    """Which of `count` things are in the `index`-th of `of` stretches, as long as the others or one longer."""
    return range(count * index // of, count * (index + 1) // of)


_group = Group()


def group() -> Group:
    """The processes of which this one is one; alone, unless `join` was called."""
    return _group


def join() -> Group:
    """Become one of the processes that a launcher has started, before anything is computed.

    Found by torchrun's variables (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), or as JAX finds SLURM, Open MPI and
    Kubernetes.

    Raises:
        ConfigError: The backend is not JAX.
        ClusterError: No launcher has started this process, the others are not there in time, or of another version.
    """
    global _group
    refuse_other_backends()
    import jax

    environment = os.environ
    known = {}
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        known = {
            "coordinator_address": f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}",
            "num_processes": int(environment["WORLD_SIZE"]),
            "process_id": int(environment["RANK"]),
        }
        if "LOCAL_RANK" in environment and environment.get("JAX_PLATFORMS") != "cpu":
            known["local_device_ids"] = int(environment["LOCAL_RANK"])
    try:
        jax.distributed.initialize(
            **known, initialization_timeout=_START_SECONDS, heartbeat_timeout_seconds=_LOST_SECONDS
        )
    except (RuntimeError, ValueError) as error:
        told = str(error).strip().splitlines()
        raise ClusterError(f"the processes do not come together: {told[0] if told else error}", _LAUNCHERS) from error
    expected = known.get("num_processes", jax.process_count())
    if jax.process_count() != expected:
        raise ClusterError(f"{jax.process_count()} processes have come together, not {expected}", _LAUNCHERS)
    _group = Group(jax.process_index(), jax.process_count())
    versions = set(gather(__version__))
    if len(versions) > 1:
        raise ClusterError(
            f"the processes are of different versions of fcoslite: {', '.join(sorted(versions))}",
            "install the same one everywhere",
        )
    if not _group.first:
        _log.setLevel(logging.ERROR)  # the first one tells what happens
    return _group


def refuse_other_backends() -> None:
    """Choose JAX, before Keras is loaded.

    Raises:
        ConfigError: KERAS_BACKEND says something else, or JAX is not installed.
    """
    if os.environ.setdefault("KERAS_BACKEND", "jax") != "jax" or importlib.util.find_spec("jax") is None:
        raise ConfigError(
            "several processes train on JAX only", "set KERAS_BACKEND=jax, and pip install 'fcoslite[jax]'"
        )


def check_batch(batch_size: int, devices: int) -> None:
    """Raise ConfigError unless a batch can be cut into equal parts, one for each of `devices`."""
    if batch_size % devices:
        raise ConfigError(
            f"a batch of {batch_size} images cannot be shared by {devices} devices",
            f"set compute.batch_size to a multiple of {devices}",
        )


def share_batches(batch_size: int) -> None:
    """Have Keras spread every batch over all devices of all processes, if there are several; before a model is built.

    Raises:
        ConfigError: The batch cannot be cut into as many parts.
    """
    import keras

    if keras.backend.backend() != "jax":
        return
    import jax

    devices = jax.device_count()
    check_batch(batch_size, devices)
    if devices > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))


def devices_of_a_batch() -> int:
    """How many devices `share_batches` has every batch spread over."""
    import keras

    distribution = keras.distribution.distribution()
    return 1 if distribution is None else math.prod(distribution.device_mesh.shape)


def batches_are_shared() -> bool:
    """Whether `share_batches` has found several devices."""
    return devices_of_a_batch() > 1


@contextmanager
def on_this_process_alone() -> Iterator[None]:
    """Inside, what is built and computed is this process's own."""
    import keras

    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def gather(value: _Result) -> list[_Result]:
    """What each process has, by index; all must call it.

    Raises:
        ClusterError: Another process cannot go on.
    """
    return _exchange(value, None) if _group.count > 1 else [value]


def from_first(make: Callable[[], _Result]) -> _Result:
    """What the first process makes; the others wait for it. All must call it.

    Raises:
        ClusterError: Another process cannot go on; in that one, its own error is raised.
    """
    if _group.count == 1:
        return make()
    made = all_or_none(make) if _group.first else all_or_none(lambda: None)
    result: _Result = gather(made)[0]  # type: ignore[assignment]  # the first one's
    return result


def all_or_none(make: Callable[[], _Result]) -> _Result:
    """What this process makes, if every process can make its own. All must call it.

    Raises:
        ClusterError: Another process cannot; in that one, its own error is raised.
    """
    if _group.count == 1:
        return make()
    try:
        made = make()
    except Exception as error:
        if not was_told(error):
            setattr(error, _TOLD, True)
            told = error.message if isinstance(error, FcosliteError) else repr(error)
            with suppress(ClusterError):
                _exchange(None, told)
        raise
    _exchange(None, None)
    return made


def was_told(error: Exception) -> bool:
    """Whether an error is, or comes from, one that ends all processes alike."""
    return getattr(error, _TOLD, False)


def _exchange(value: _Result, error: str | None) -> list[_Result]:
    messages = [pickle.loads(content) for content in _all_bytes(pickle.dumps((value, error)))]
    for index, (_, told) in enumerate(messages):
        if told is not None:
            failure = ClusterError(f"process {index} cannot go on: {told}", "see what it says itself")
            setattr(failure, _TOLD, True)
            raise failure
    return [value for value, _ in messages]


def _all_bytes(content: bytes) -> list[bytes]:
    from jax.experimental import multihost_utils

    sizes = np.asarray(multihost_utils.process_allgather(np.array([len(content)], np.int32))).ravel()
    # of few different lengths, because each is compiled for itself
    padded = np.zeros(1 << int(sizes.max() - 1).bit_length(), np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(_group.count, -1)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]
