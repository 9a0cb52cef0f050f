"""Records to TFRecord files, one after the other, so that a killed run loses the one file it was writing.

A finished file has a journal beside it, `.part-00003.json`, that says what is in it and how many images had been used
up by its end. Every file but the last is full, however many images had to be skipped; so the files get their names,
`PREFIX-00003-of-00016.tfrecord`, when their number is known.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fcoslite.data.dataset import Dataset, LabelledImage
from fcoslite.data.images import UnusableImageError
from fcoslite.data.records.manifest import Shard
from fcoslite.data.records.schema import encode_image, serialize
from fcoslite.data.skipped import Explain, SkippedImage, refuse_too_many, skipped_image
from fcoslite.machine.threads import map_in_order
from fcoslite.progress import Progress
from fcoslite.storage.files import file_size, replace_file

_log = logging.getLogger("fcoslite")

_JOURNALS = ".part-*"
_LIST = "-v names them as they come"


@dataclass(frozen=True)
class RecordBytes:
    """A serialized record, or why there is none."""

    image: LabelledImage
    serialized: bytes = b""
    skipped: SkippedImage | None = None


def make_record(image: LabelledImage, dataset: Dataset, image_size: int, encoding: str) -> RecordBytes:
    """Turn one labelled image into a serialized `tf.train.Example`; `parse_record` is the inverse."""
    try:
        encoded = encode_image(image, dataset, image_size, encoding)
    except UnusableImageError as error:
        return RecordBytes(image, skipped=skipped_image(image, error))
    return RecordBytes(image, serialize(image, encoded, image_size))


@dataclass(frozen=True)
class Part:
    """A finished file without its name; the fields of its journal.

    Attributes:
        images_used: Of the order, up to its end; those that were skipped too.
        count: Records; 0, and no file, where the last images were all skipped.
        sha256: Of the file.
        size: Of the file, bytes.
        boxes: In its records, crowds included.
        max_boxes: Most boxes of one record.
        skipped: Images without a record.
    """

    images_used: int
    count: int
    sha256: str
    size: int
    boxes: int
    max_boxes: int
    skipped: tuple[SkippedImage, ...]


def write_parts(
    images: Sequence[LabelledImage],
    record: Callable[[LabelledImage], RecordBytes],
    folder: Path,
    records_per_shard: int,
    workers: int,
    max_skipped: str,
    progress: Progress,
    explain: Explain | None = None,
) -> list[Part]:
    """Write the records of images, in their order; go on after the parts that are there.

    Args:
        images: Whose records to write.
        record: Makes one.
        folder: For the files.
        records_per_shard: Records a file.
        workers: Threads that make records.
        max_skipped: Most images that may be skipped: a count, or a share such as `1%`.
        progress: Told about every image.
        explain: Asked when too many had to be skipped.

    Raises:
        OSError: A file cannot be written.
        TooManySkippedError: More images had to be skipped.
    """
    parts = _finished_parts(folder)
    skipped = [image for part in parts for image in part.skipped]
    refuse_too_many(skipped, len(images), max_skipped, _LIST, explain)
    used = parts[-1].images_used if parts else 0
    with progress("Building records", len(images), "images") as advance:
        if used:
            _log.info("%d of %d images are done", used, len(images))
            advance(used)

        def tell(records: Iterator[RecordBytes]) -> Generator[RecordBytes, None, None]:
            for made in records:
                advance()
                if made.skipped is not None:
                    skipped.append(made.skipped)
                    refuse_too_many(skipped, len(images), max_skipped, _LIST, explain)
                yield made

        with closing(map_in_order(record, images[used:], workers)) as made, closing(tell(made)) as records:
            while used < len(images):
                parts.append(_write_part(_part(folder, len(parts)), records, records_per_shard, used))
                used = parts[-1].images_used
    return parts


def name_shards(parts: Sequence[Part], folder: Path, prefix: str) -> tuple[Shard, ...]:
    """Give the files of the parts their names; those that have theirs keep it."""
    filled = [part for part in parts if part.count]
    shards = []
    for index, part in enumerate(filled):
        shard = Shard(f"{prefix}-{index:05d}-of-{len(filled):05d}.tfrecord", part.count, part.sha256, part.size)
        if _part(folder, index).exists():
            _part(folder, index).replace(folder / shard.name)
        shards.append(shard)
    return tuple(shards)


def clear_journals(folder: Path) -> None:
    """Delete what was needed only to go on after a kill."""
    for path in folder.glob(_JOURNALS):
        path.unlink()


def _part(folder: Path, index: int) -> Path:
    return folder / f".part-{index:05d}"


def _journal(part: Path) -> Path:
    return part.with_suffix(".json")


def _finished_parts(folder: Path) -> list[Part]:
    """The parts up to the first whose journal or file is lost or damaged: those after it are made again as well."""
    parts: list[Part] = []
    while (part := _finished_part(folder, len(parts))) is not None:
        parts.append(part)
    lost = [path for path in folder.glob(_JOURNALS) if path.suffix and path >= _journal(_part(folder, len(parts)))]
    if lost:
        _log.warning("what a run before has left is damaged from file %d on: made again", len(parts))
    for path in lost:
        path.unlink()
    return parts


def _finished_part(folder: Path, index: int) -> Part | None:
    path = _part(folder, index)
    try:
        part = msgspec.json.decode(_journal(path).read_bytes(), type=Part)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    files = [path, *folder.glob(f"*-{index:05d}-of-*.tfrecord")]  # it may have its name already
    return part if not part.count or part.size in map(file_size, files) else None


def _write_part(path: Path, records: Iterator[RecordBytes], records_per_shard: int, used: int) -> Part:
    import tensorflow as tf

    boxes: list[int] = []
    skipped = []
    try:
        with tf.io.TFRecordWriter(os.fsencode(path)) as writer:
            for made in records:
                used += 1
                if made.skipped is not None:
                    skipped.append(made.skipped)
                    continue
                writer.write(made.serialized)
                boxes.append(len(made.image.class_ids))
                if len(boxes) == records_per_shard:
                    break
        with path.open("r+b") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except tf.errors.OpError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.message) from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    part = Part(used, len(boxes), digest, path.stat().st_size, sum(boxes), max(boxes, default=0), tuple(skipped))
    if not boxes:
        path.unlink()
    replace_file(_journal(path), msgspec.json.encode(part))
    return part
