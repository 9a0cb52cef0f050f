"""Real Ray clusters of this machine: a head, and more nodes if need be."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.ports import free_port

ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",  # its token would be in the home folder, which no test sees
    # else a group that counts on a machine that was just lost is waited for a minute
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
}


@contextmanager
def ray_head(cpus: int) -> Iterator[str]:
    """The address of a cluster of one node."""
    port, for_clients = free_port(), free_port()
    ports = (f"--port={port}", f"--ray-client-server-port={for_clients}")
    with _node("--head", *ports, "--include-dashboard=false", f"--num-cpus={cpus}"):
        yield f"127.0.0.1:{port}"


@contextmanager
def ray_node(
    address: str, cpus: int, hidden: Path | None = None, packages: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """One more node of a cluster, which sees an empty folder at `hidden`, and imports what is in `packages` first."""
    unseen = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{hidden}" && exec "$@"', "sh"] if hidden else []
    environment = {"PYTHONPATH": str(packages)} if packages else {}
    with _node(f"--address={address}", f"--num-cpus={cpus}", before=unseen, **environment) as process:
        yield process


@contextmanager
def _node(*options: str, before: Sequence[str] = (), **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [
        *before,
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        *options,
        "--min-worker-port=0",  # any free ones: other clusters may be here at the same time
        "--max-worker-port=0",
        "--disable-usage-stats",
        "--block",
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | ENVIRONMENT | environment,
        start_new_session=True,
    ) as process:
        for line in process.stdout:
            if "Ray runtime started" in line:
                break
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):  # it may leave its children behind, which hold its output open
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def kill_node(process: subprocess.Popen[str]) -> None:
    """As if its machine had lost power."""
    for pid in [*_descendants(process.pid), process.pid]:
        kill(pid)
    process.wait()


def train_workers() -> list[int]:
    """The processes that Ray has train, of the clusters that this process has started."""
    found = []
    for pid in _descendants(os.getpid()):
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and b"Train" in title and b"Controller" not in title:
            found.append(pid)
    return sorted(found)


def kill(pid: int) -> None:
    """SIGKILL, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(path.name))
    found, open_ = [], [pid]
    while open_:
        children = parents.get(open_.pop(), [])
        found += children
        open_ += children
    return found
