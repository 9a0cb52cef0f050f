"""`fcoslite` as a process that is killed and run again, and a line for the table of faults.

A kill test does three things: `run_undisturbed` once, to learn how long the work takes and what it gives;
`kill_and_repeat` with a check of the result; `report`.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 600.0  # seconds after which a process counts as hanging


@dataclass(frozen=True)
class Undisturbed:
    """How long a command takes.

    Attributes:
        seconds: In all.
        began: Until it had the lock that it was asked about; 0 without one.
    """

    seconds: float
    began: float


def start(arguments: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """Start `fcoslite` with these arguments in a folder."""
    command = [sys.executable, "-m", "fcoslite", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_undisturbed(arguments: Sequence[str], folder: Path, lock: str | None = None) -> Undisturbed:
    """Run `fcoslite` to its end, which must be a good one.

    Args:
        arguments: Of the command line.
        folder: To run in.
        lock: A glob in the folder, such as `runs/*/.lock`; once the process holds that lock, its work has begun.
    """
    began = time.monotonic()
    process = start(arguments, folder)
    first = _wait_for(lock, folder, process) if lock else began
    _must_succeed(process)
    return Undisturbed(time.monotonic() - began, first - began)


def kill_at(arguments: Sequence[str], folder: Path, seconds: float, lock: str | None = None) -> bool:
    """Run `fcoslite` and kill it with SIGKILL.

    Args:
        arguments: Of the command line.
        folder: To run in.
        seconds: When, counted from the lock; without one, from the start.
        lock: As for `run_undisturbed`.

    Returns:
        Whether it was killed; False if it had come to its end, which must be a good one.
    """
    process = start(arguments, folder)
    if lock:
        _wait_for(lock, folder, process)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    assert process.returncode in (0, -9), output
    return process.returncode == -9


def kill_and_repeat(
    command: Callable[[], Sequence[str]],
    folder: Path,
    kills: int,
    undisturbed: Undisturbed,
    finished: Callable[[], None],
    lock: str | None = None,
    seed: int = 0,
) -> None:
    """Kill a command at random moments, each time run it again, and look at what it gives whenever it ends by itself.

    Args:
        command: Arguments for the next start, such as with `--resume` once there is a run.
        folder: To run in.
        kills: How many in all.
        undisturbed: How long its work takes.
        finished: Called when the command has come to its end: checks the result and clears it away.
        lock: As for `run_undisturbed`.
        seed: Of the moments.
    """
    # Not to the very end of the work, or a third of the processes would come to it before they are killed. It is still
    # met: what was killed late and goes on has less to do.
    longest = 0.85 * (undisturbed.seconds - undisturbed.began)
    moments = random.Random(seed)
    done = 0
    while done < kills:
        if kill_at(command(), folder, moments.uniform(0, longest), lock):
            done += 1
        else:
            finished()
    run_undisturbed(command(), folder)
    finished()


def report(fault: str, injected: int, lost: str, ended: str) -> None:
    """Add a line to the table of faults, where a file for it is named by FCOSLITE_FAULTS.

    Args:
        fault: What was done.
        injected: How often.
        lost: What was lost by it.
        ended: How it ended.
    """
    path = os.environ.get("FCOSLITE_FAULTS")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"fault": fault, "injected": injected, "lost": lost, "ended": ended}) + "\n")


def _wait_for(lock: str, folder: Path, process: subprocess.Popen[str]) -> float:
    """The time at which the process had the lock, or had ended."""
    patience = time.monotonic() + PATIENCE
    while time.monotonic() < patience:
        for path in folder.glob(lock):
            # a killed process leaves the file, but no lock; the holder writes its number there
            with suppress(FileNotFoundError):
                if f"process {process.pid} " in path.read_text("utf-8"):
                    return time.monotonic()
        if process.poll() is not None:
            return time.monotonic()
        time.sleep(0.002)
    process.kill()
    raise AssertionError(f"{lock} was not taken in {PATIENCE:.0f} s")


def _must_succeed(process: subprocess.Popen[str]) -> None:
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, output
