"""Locks of the operating system on files: they end with the process that holds them, however it ends."""

import errno
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from fcoslite.errors import BusyError
from fcoslite.text import without_user

_log = logging.getLogger("fcoslite")

_LOOK_SECONDS = 0.5  # so long a lock may be held by somebody who only looks: see is_locked
_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> None:
        """Lock an open file until it is closed; OSError if another has locked it."""
        # a byte far behind the text: Windows keeps others from reading what is locked
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def try_lock(descriptor: int) -> None:
        """Lock an open file until it is closed; OSError if another has locked it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of a file, which is made for it, or refuse at once.

    The file may outlive a crash; the lock does not, and the file alone stops nobody. Where the file system knows no
    locks, a warning says so and nothing is locked.

    Args:
        path: The lock's file; its folder exists. It holds a line that says who has the lock.
        what: What is locked, for the message.

    Raises:
        BusyError: Somebody else holds it.
        OSError: The file cannot be made.
    """
    descriptor = _take(path, what)
    try:
        with suppress(OSError):  # on a full disk: the line is only a courtesy
            os.ftruncate(descriptor, 0)
            os.write(descriptor, _who().encode("utf-8", "replace"))
        yield
    finally:
        with suppress(OSError):  # Windows does not delete what is open
            path.unlink()
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of a file, which is neither made nor deleted; no, if it is not ours to write."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        try_lock(descriptor)
    except OSError as error:
        return error.errno in _HELD
    finally:
        os.close(descriptor)
    return False


def _take(path: Path, what: str) -> int:
    patience = time.monotonic() + _LOOK_SECONDS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try_lock(descriptor)
        except OSError as error:
            if error.errno not in _HELD:
                _log.warning("%s cannot be locked: see to it that no other process writes there (%s)", what, error)
                return descriptor
            os.close(descriptor)
            if time.monotonic() < patience:
                time.sleep(_LOOK_SECONDS / 10)
                continue
            raise BusyError(f"{what} is being written by {_holder(path)}", "wait until it ends, or stop it") from None
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its holder deleted it between our two calls: try the new one


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _who() -> str:
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    command = " ".join([name, *map(without_user, sys.argv[1:])])
    return f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}: {command}"


def _holder(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")[:300].strip() or "another process"
    except OSError:
        return "another process"
