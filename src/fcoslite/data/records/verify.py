"""What is wrong with a set of records: missing, cut off and foreign shards, damaged records.

A shard that fits its checksum is what `build-records` wrote. One that does not is read record by record: TFRecord has a
checksum for each, so a flipped bit costs one record and not the shard.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from fcoslite.data.records.manifest import RecordsManifest, Shard, load_manifest, shard_fault
from fcoslite.data.records.schema import check_record
from fcoslite.errors import DataError
from fcoslite.machine.backend import load_tensorflow
from fcoslite.machine.threads import map_in_order
from fcoslite.progress import Progress, no_progress
from fcoslite.storage.files import file_digest

_UNREADABLE = "cannot be read: damaged, or cut off"
_FOREIGN = "is not the shard of the manifest: of another set, or another build"


@dataclass(frozen=True)
class Fault:
    """Records that cannot be used.

    Attributes:
        shard: Name of the file.
        records: Their positions in it, counted from 0.
        problem: In words.
        whole: Whether the file as such is at fault, not some of its records.
    """

    shard: str
    records: range
    problem: str
    whole: bool = False

    def __str__(self) -> str:
        if self.whole:
            return f"{self.shard} {self.problem}"
        first, last = self.records[0], self.records[-1]
        named = f"record {first}" if first == last else f"records {first} to {last}"
        return f"{self.shard}, {named}: {self.problem}"


@dataclass(frozen=True)
class Verification:
    """What a check has found.

    Attributes:
        folder: The set.
        shards: Files in all.
        records: Records in all.
        deep: Whether the files were read.
        faults: In the order of the records.
    """

    folder: Path
    shards: int
    records: int
    deep: bool
    faults: tuple[Fault, ...]

    @property
    def bad_records(self) -> int:
        """Records that cannot be used."""
        return sum(len(fault.records) for fault in self.faults)


def verify_records(folder: Path, deep: bool = False, progress: Progress = no_progress) -> Verification:
    """Check a set of records.

    Args:
        folder: Holds the shards and their manifest.
        deep: Compare the checksum of every shard, and decode every record; else only names and sizes are looked at.
        progress: Told about every shard.

    Raises:
        DataError: The manifest is missing or damaged.
    """
    manifest = load_manifest(folder)
    faults: list[Fault] = []
    if deep:
        load_tensorflow()
    with progress("Verifying records", len(manifest.shards), "shards") as advance:
        for shard in manifest.shards:
            problem = shard_fault(folder, shard)
            if deep:
                is_whole = not problem and file_digest(folder / shard.name) == shard.sha256
                faults += _read_shard(folder, shard, manifest, is_whole)
            elif problem:
                faults.append(Fault(shard.name, range(shard.count), problem, whole=True))
            advance()
    return Verification(folder, len(manifest.shards), manifest.count, deep, tuple(faults))


def find_bad_records(
    folder: Path, manifest: RecordsManifest, records: range, workers: int, progress: Progress = no_progress
) -> dict[int, Fault]:
    """Those of the records that cannot be used, by position, and why.

    The shards that hold them are compared with their checksums, and decoded only where these do not fit.
    """

    def is_whole(shard: Shard) -> bool:
        return not shard_fault(folder, shard) and file_digest(folder / shard.name) == shard.sha256

    pieces = list(manifest.shards_of(records))
    bad: dict[int, Fault] = {}
    with (
        progress("Checking records", len(pieces), "shards") as advance,
        closing(map_in_order(is_whole, [shard for shard, _, _ in pieces], workers)) as results,
    ):
        for (shard, start, ours), whole in zip(pieces, results, strict=True):
            for fault in [] if whole else _read_shard(folder, shard, manifest, is_whole=False):
                bad |= {start + record: fault for record in fault.records if start + record in ours}
            advance()
    return bad


def _read_shard(folder: Path, shard: Shard, manifest: RecordsManifest, is_whole: bool) -> list[Fault]:
    """Decode a shard's records; `is_whole` says whether the file has its checksum."""
    path = folder / shard.name
    if not path.is_file():
        return [Fault(shard.name, range(shard.count), shard_fault(folder, shard), whole=True)]
    check = partial(_problem, manifest=manifest)
    with closing(map_in_order(check, _records(path, shard.count), os.cpu_count() or 1)) as checked:
        problems = list(checked)
    if not is_whole and _UNREADABLE not in problems:
        # every byte of a TFRecord file is under a checksum of its own: this file was written so
        return [Fault(shard.name, range(shard.count), _FOREIGN, whole=True)]
    faults = []
    for problem, group in groupby(range(shard.count), key=problems.__getitem__):
        positions = list(group)
        if problem:
            faults.append(Fault(shard.name, range(positions[0], positions[-1] + 1), problem))
    return faults


def _problem(serialized: bytes | None, manifest: RecordsManifest) -> str:
    if serialized is None:
        return _UNREADABLE
    try:
        check_record(serialized, manifest)
    except DataError as error:
        return error.message
    return ""


def _records(path: Path, count: int) -> Iterator[bytes | None]:
    """The first `count` records of a shard; None in place of one that cannot be read."""
    import tensorflow as tf

    position = 0
    while position < count:
        # skipping reads the lengths only, so it passes over damaged contents; a damaged length ends the file
        rest = tf.data.TFRecordDataset(os.fsencode(path)).skip(position).take(count - position)
        try:
            for record in rest:
                yield record.numpy()
                position += 1
            break
        except tf.errors.OpError:
            yield None
            position += 1
    for _ in range(position, count):
        yield None
