"""Files that are at all times either the old one or the whole new one."""

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from fcoslite.storage.locks import try_lock
from fcoslite.storage.places import file_sizes, is_remote, patiently
from fcoslite.storage.space import is_special
from fcoslite.text import to_json

_PARTIAL = ".fcoslite-{}.partial"
_NEW_SECONDS = 0.5  # it might be about to be locked


def replace_file(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename; a failure leaves the old file and nothing else.

    A pipe or device is written to: a file in its place would be a surprise. A remote file is whole or absent by itself.

    Several processes may write the same file at once: the last one wins. What a kill leaves is deleted by the next call
    for the same folder.
    """
    if is_remote(path):
        patiently(path, lambda: path.write_bytes(content))
        return
    if is_special(path):
        path.write_bytes(content)
        return
    _clear_partials(path.parent)
    partial = path.with_name(_PARTIAL.format(uuid4().hex))
    try:
        with partial.open("xb") as file:
            with suppress(OSError):  # on a file system without locks
                try_lock(file.fileno())  # so that others see that it is in use
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # what is open cannot be renamed there
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _clear_partials(folder: Path) -> None:
    """Delete what `replace_file` was writing in a folder when its process was killed."""
    for partial in folder.glob(_PARTIAL.format("*")):
        with suppress(OSError):
            with partial.open("r+b") as file:
                try_lock(file.fileno())  # else it is being written
            if time.time() - partial.stat().st_mtime > _NEW_SECONDS:
                partial.unlink()


def is_partial(path: Path) -> bool:
    """Whether `replace_file` is writing a file, or was when its process was killed."""
    return path.match(_PARTIAL.format("*"))


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_size(path: Path) -> int:
    """Bytes of a file; -1 if there is none."""
    try:
        return int((patiently(path, path.stat) if is_remote(path) else path.stat()).st_size)
    except OSError:
        return -1


def sizes_of(folder: Path, names: Iterable[str]) -> Iterator[int]:
    """Bytes of files of a folder; -1 where there is none."""
    if is_remote(folder):
        found = file_sizes(folder)  # a request for each would take hours
        return (found.get(name, -1) for name in names)
    return (file_size(folder / name) for name in names)


def write_json(path: Path, document: dict[str, object]) -> None:
    """Write an indented UTF-8 JSON file, whole or not at all."""
    replace_file(path, (to_json(document, indent=2) + "\n").encode())
