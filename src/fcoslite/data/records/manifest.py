"""What a set of records holds, as its manifest.json says it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fcoslite.errors import DataError
from fcoslite.storage.files import file_size, sizes_of
from fcoslite.storage.places import is_file, read_bytes
from fcoslite.storage.staged_folder import MANIFEST

FORMAT = 1
SCORED_FORMAT = 2  # has scores, too, which an older fcoslite would leave unread
REBUILD = "build the records again with `fcoslite build-records --overwrite`"


@dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name in the folder, records, checksum, and size in bytes."""

    name: str
    count: int
    sha256: str
    size: int


@dataclass(frozen=True)
class RecordsManifest:
    """What a set of records holds; its manifest.json.

    Attributes:
        class_names: Names by class id - 1.
        image_size: Side of the letterboxed images, pixels.
        encoding: `png` or `jpeg`.
        seed: Of the order.
        count: Records in all.
        boxes: Boxes in all, crowds included.
        max_boxes: Most boxes in one image, crowds included.
        shards: In the order of their records.
        version: Of the fcoslite that wrote it.
        skipped_images: Images that could not be used.
        job: Digest of the data and the options it was built with; empty if an older fcoslite built it.
        format: Of the records.
    """

    class_names: tuple[str, ...]
    image_size: int
    encoding: str
    seed: int
    count: int
    boxes: int
    max_boxes: int
    shards: tuple[Shard, ...]
    version: str
    skipped_images: int = 0
    job: str = ""
    format: int = FORMAT

    def shards_of(self, records: range) -> Iterator[tuple[Shard, int, range]]:
        """The shards that hold some of the records: the shard, the position of its first record, and which of ours."""
        start = 0
        for shard in self.shards:
            ours = range(max(records.start, start), min(records.stop, start + shard.count))
            if ours:
                yield shard, start, ours
            start += shard.count


def load_manifest(folder: Path) -> RecordsManifest:
    """Read a set's manifest; its shards are not looked at.

    Raises:
        DataError: There is no manifest, it cannot be read, or it contradicts itself.
    """
    path = folder / MANIFEST
    if not is_file(path):
        raise DataError(
            f"no records at {folder}: it has no {MANIFEST}",
            "build the records with `fcoslite build-records`, or name their folder",
        )
    return decode_manifest(read_bytes(path), str(path))


def decode_manifest(content: bytes, origin: str) -> RecordsManifest:
    """The manifest that JSON text holds; `origin` is named in errors.

    Raises:
        DataError: It holds none, one of another format, or one that contradicts itself.
    """
    try:
        manifest = msgspec.json.decode(content, type=RecordsManifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{origin} is not a manifest of records: {error}", REBUILD) from None
    if manifest.format not in (FORMAT, SCORED_FORMAT):
        known = f"{FORMAT} and {SCORED_FORMAT}"
        raise DataError(f"{origin} is of format {manifest.format}, this fcoslite reads {known}", REBUILD)
    sizes = [manifest.image_size, *(number for shard in manifest.shards for number in (shard.count, shard.size))]
    names = [shard.name for shard in manifest.shards]
    if (
        not (manifest.class_names and manifest.shards)
        or min(sizes) < 1
        or min(manifest.boxes, manifest.max_boxes) < 0
        or manifest.count != sum(shard.count for shard in manifest.shards)
        or len(set(names)) < len(names)
        or not all(re.fullmatch(r"[\w.-]+\.tfrecord", name) for name in names)
    ):
        raise DataError(f"{origin} contradicts itself: it is damaged", REBUILD)
    return manifest


def shard_fault(folder: Path, shard: Shard) -> str:
    """What is wrong with a shard as far as its size tells, or an empty string."""
    return _size_fault(file_size(folder / shard.name), shard)


def _size_fault(size: int, shard: Shard) -> str:
    if size < 0:
        return "is missing"
    return "" if size == shard.size else f"has {size} bytes, not {shard.size}: cut off, or of another set"


def read_manifest(folder: Path) -> RecordsManifest:
    """Read a set's manifest and check that its shards are there.

    Raises:
        DataError: There is no manifest, it cannot be read, or a shard is missing or of another size.
    """
    manifest = load_manifest(folder)
    sizes = sizes_of(folder, (shard.name for shard in manifest.shards))
    for shard, size in zip(manifest.shards, sizes, strict=True):
        fault = _size_fault(size, shard)
        if fault:
            raise DataError(
                f"{folder / shard.name} {fault}",
                f"copy it again, {REBUILD}, or train and evaluate without its records: --skip-bad-records",
            )
    return manifest
