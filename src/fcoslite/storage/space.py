"""Whether something can be written to a place, and whether its disk has room for it."""

import logging
import os
import re
import shutil
import stat
from pathlib import Path

from fcoslite.errors import ConfigError, DataError, FcosliteError
from fcoslite.storage.places import is_remote

_log = logging.getLogger("fcoslite")

_LOST_SLASH = re.compile(r"[a-z][a-z0-9+.-]+:/[^/]")  # what a Path makes of an address
_SPARE_BYTES = 16 * 2**20  # a frame, and the index of a video of half a day


def refuse_address(path: Path, hint: str = "this command writes to a disk") -> None:
    """Raise ConfigError if a path was an address, such as s3://bucket/folder, of which a local one has been made."""
    if _LOST_SLASH.match(path.as_posix()):
        raise ConfigError(f"{path.as_posix().replace(':/', '://', 1)} is an address", hint)


def check_writable(path: Path, hint: str, folder: bool = True) -> None:
    """Refuse a place that nothing can be written to; if it is not there, the folder in which it would be made.

    Args:
        path: The place.
        hint: What to do instead.
        folder: It is to be a folder; else a file.

    Raises:
        DataError: It is of the other kind, in a file, on a read-only disk, or without permission.
        ConfigError: It is an address.
    """
    refuse_address(path)
    wanted = path if is_special(path) else path.resolve()
    place = nearest_existing(wanted)
    is_folder = place.is_dir()
    if is_folder != (folder or place != wanted):
        kinds = "folder, not a file" if is_folder else "file, not a folder"
        raise DataError(f"{path if place == wanted else place} is a {kinds}", hint)
    mode = os.W_OK | os.X_OK if is_folder else os.W_OK
    if not os.access(place, mode, effective_ids=os.access in os.supports_effective_ids):
        reason = "there is no permission, or its disk is read-only"
        raise DataError(f"{place} cannot be written to: {reason}", f"mend its permissions, or {hint}")


def free_bytes(out: Path) -> int:
    """Free space on the disk that holds, or would hold, `out`."""
    return shutil.disk_usage(nearest_existing(out.resolve())).free


def known_free_bytes(out: Path) -> int | None:
    """`free_bytes`; None of a remote place, of which nobody knows it."""
    return None if is_remote(out) else free_bytes(out)


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
    free = known_free_bytes(out)
    if free is None:
        return
    needed_bytes -= staged_bytes
    text = f"{out}: about {max(0, needed_bytes) / 1e6:,.1f} MB will be written, {free / 1e6:,.1f} MB are free"
    if needed_bytes > free:
        raise DataError(text, hint)
    _log.info(text)


def check_room(path: Path) -> None:
    """See that a disk has room for more, and to complete what is there: half a line or image helps nobody.

    Args:
        path: A file or folder on it, or one to be. A pipe or device has no disk, and room for all.

    Raises:
        FcosliteError: It has not.
    """
    if not is_special(path) and free_bytes(path) < _SPARE_BYTES:
        raise FcosliteError(f"the disk that holds {path} is full", "free some space or save elsewhere")


def is_special(path: Path) -> bool:
    """Whether it is a pipe, a device or a socket. What /dev/stdout leads to may have no path at all."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def nearest_existing(path: Path) -> Path:
    """A path itself, or the nearest folder above it that is there."""
    # os.path: what may not be looked into counts as absent
    return next(place for place in (path, *path.absolute().parents) if os.path.exists(place))  # noqa: PTH110
