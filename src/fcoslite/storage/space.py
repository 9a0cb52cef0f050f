"""Space on a disk: whether a folder can be written to, and has room for what is to come."""

import logging
import os
import shutil
from pathlib import Path

from fcoslite.errors import DataError, FcosliteError

_log = logging.getLogger("fcoslite")

_SPARE_BYTES = 16 * 2**20  # a frame, and the index of a video of half a day


def check_writable(folder: Path, hint: str) -> None:
    """Refuse a folder that nothing can be written to; if it is not there, the one in which it would be made.

    Raises:
        DataError: It is a file, on a read-only disk, or without permission.
    """
    existing = nearest_existing(folder.resolve())
    if not existing.is_dir():
        raise DataError(f"{existing} is a file, not a folder", hint)
    if not os.access(existing, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise DataError(f"{existing} cannot be written to", f"mend its permissions, or {hint}")


def free_bytes(out: Path) -> int:
    """Free space on the disk that holds, or would hold, `out`."""
    return shutil.disk_usage(nearest_existing(out.resolve())).free


def check_free_space(out: Path, needed_bytes: int, hint: str, staged_bytes: int = 0) -> None:
    """Say what space is needed, and refuse to start what the disk cannot hold.

    Args:
        out: What will be written.
        needed_bytes: What that takes.
        hint: What to do where there is too little.
        staged_bytes: What a stopped run has left takes no new space: it is gone on with, or cleared.

    Raises:
        DataError: Less than `needed_bytes` are free where `out` would be.
    """
    free = free_bytes(out)
    needed_bytes -= staged_bytes
    text = f"{out}: about {max(0, needed_bytes) / 1e6:,.1f} MB will be written, {free / 1e6:,.1f} MB are free"
    if needed_bytes > free:
        raise DataError(text, hint)
    _log.info(text)


def check_room(path: Path) -> None:
    """See that a disk has room for more, and to complete what is there: half a line or image helps nobody.

    Args:
        path: A file or folder on it, or one to be.

    Raises:
        FcosliteError: It has not.
    """
    if shutil.disk_usage(nearest_existing(path)).free < _SPARE_BYTES:
        raise FcosliteError(f"the disk that holds {path} is full", "free some space or save elsewhere")


def nearest_existing(path: Path) -> Path:
    """A path itself, or the nearest folder above it that is there."""
    # os.path: what may not be looked into counts as absent
    return next(place for place in (path, *path.absolute().parents) if os.path.exists(place))  # noqa: PTH110
