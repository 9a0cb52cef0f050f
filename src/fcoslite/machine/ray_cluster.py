"""A Ray cluster: one that is there, or one of this machine's own for as long as it is needed."""

import importlib.util
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fcoslite import __version__
from fcoslite.errors import ClusterError, ConfigError

_TIMEOUT = 10.0  # seconds


@contextmanager
def ray_cluster(address: str | None, cpus: int | None = None) -> Iterator[Any]:
    """Yield the module `ray`, connected.

    Args:
        address: Of a cluster: `auto`, one that runs on this machine; `ray://HOST:10001`; `HOST:6379`. None: what
            RAY_ADDRESS says, or else processes on this machine, which end with this one.
        cpus: Of this machine, where there is no cluster; None: all.

    Raises:
        ConfigError: Ray is not installed.
        ClusterError: There is no cluster at that address, or of another Ray or Python.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("Ray is not installed", "pip install 'fcoslite[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves this machine unasked
    import ray

    where = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        _check_that_somebody_listens(where)
        if where == "local":
            ray.init(where, num_cpus=cpus, include_dashboard=False, configure_logging=False, log_to_driver=False)
        else:
            ray.init(where, configure_logging=False, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        told = str(error).strip().splitlines()
        raise ClusterError(
            f"no Ray cluster at {where}: {told[0] if told else type(error).__name__}",
            "start one with `ray start --head`, ask `ray status` there, or leave out --address to use this machine",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_that_somebody_listens(address: str) -> None:
    """Ray itself tries for minutes, and then ends the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT).close()


def check_version(theirs: str) -> None:
    """Raise ClusterError unless the fcoslite of the process that asks is of the version of this one, a worker's."""
    if theirs != __version__:
        raise ClusterError(
            f"a worker of the cluster has fcoslite {__version__}, this process {theirs}",
            "install the same version everywhere",
        )
