"""Shards of a remote set on the local disk: fetched when a record of one is needed, and checked; as many as fit.

They are named by their checksums, so that several runs, and sets that share shards, share them.
"""

import hashlib
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from fcoslite.data.records.manifest import REBUILD, RecordsManifest, Shard
from fcoslite.errors import DataError
from fcoslite.storage.places import fetch

_IN_USE = 60.0  # seconds since it was last asked for
_OLD = 10.0  # seconds: how exactly that is known
_PARTIAL = ".partial"
_FETCHED_FOR = 3600.0  # seconds; what is older was left by a kill


def cache_folder() -> Path:
    """Where the system keeps what can be had again."""
    if sys.platform == "win32":
        parent = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    else:
        parent = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(parent).expanduser() / "fcoslite" / "records"


@dataclass(frozen=True)
class ShardCache:
    """The shards of one set.

    Attributes:
        source: The remote folder.
        shards: By name.
        folder: On the local disk.
        room: For shards of any set, in bytes. More is used while more of them are in use.
    """

    source: Path
    shards: Mapping[str, Shard]
    folder: Path
    room: int
    _guards: "defaultdict[str, threading.Lock]" = field(default_factory=lambda: defaultdict(threading.Lock))

    @classmethod
    def open(cls, source: Path, manifest: RecordsManifest, room_gb: float) -> "ShardCache":
        """That of a set, with room for so many GB (10^9 bytes)."""
        shards = {shard.name: shard for shard in manifest.shards}
        return cls(source, shards, cache_folder(), round(room_gb * 1e9))

    def local(self, name: str) -> Path:
        """The local copy of a shard.

        Raises:
            DataError: It cannot be reached, is gone, is not what the manifest says, or cannot be kept.
        """
        shard = self.shards[name]
        path = self.folder / f"{shard.sha256}.tfrecord"
        with self._guards[name]:  # several threads ask at the same time
            with suppress(FileNotFoundError):  # another process may delete it now
                facts = path.stat()
                if facts.st_size == shard.size:
                    if time.time() - facts.st_mtime > _OLD:
                        os.utime(path)
                    return path
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._make_room(shard.size)
                self._fetch(shard, path)
            except OSError as error:
                raise DataError(
                    f"{self.source / name} cannot be kept in {self.folder}: {error.strerror or error}",
                    "make room there, set data.cache_gb to less, or XDG_CACHE_HOME to another folder",
                ) from error
        return path

    def _fetch(self, shard: Shard, path: Path) -> None:
        place = self.source / shard.name
        partial = self.folder / f".{uuid4().hex}{_PARTIAL}"
        try:
            try:
                fetch(place, partial)
            except FileNotFoundError:
                raise DataError(f"{place} is gone", "it was there when the command began") from None
            with partial.open("r+b") as file:
                os.fsync(file.fileno())  # what has its name is never looked into again
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != shard.sha256:
                raise DataError(f"{place} does not have the checksum of the manifest", REBUILD)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """Delete those that were not asked for the longest time."""
        known = []
        for path in self.folder.glob("*"):
            with suppress(OSError):  # another process deletes, too
                facts = path.stat()
                known.append((facts.st_mtime, facts.st_size, path))
        used = sum(size for _, size, _ in known)
        for asked, its_size, path in sorted(known):
            if used + size <= self.room or time.time() - asked < _IN_USE:
                return
            if path.suffix == _PARTIAL and time.time() - asked < _FETCHED_FOR:
                continue
            with suppress(OSError):  # on Windows, while it is read
                path.unlink()
                used -= its_size

    def __reduce__(self) -> tuple[type["ShardCache"], tuple[Path, Mapping[str, Shard], Path, int]]:
        """For pickle: locks stay in their process."""
        return type(self), (self.source, self.shards, self.folder, self.room)
