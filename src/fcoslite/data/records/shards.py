"""Records to TFRecord files, each on its own: which images go into one depends on nothing but their places.

File i holds images [i x n, (i + 1) x n) of the order, less those that cannot be used; if none of them can, there is no
such file. So its name, `PREFIX-00003-of-00016.tfrecord`, is known before it is written, and any process may write it. A
finished file has a journal beside it, `.NAME.json`, that says what is in it.
"""

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from uuid import uuid4

import msgspec

from fcoslite.data.dataset import Dataset, LabelledImage
from fcoslite.data.images import UnusableImageError
from fcoslite.data.records.manifest import Shard
from fcoslite.data.records.schema import encode_image, serialize
from fcoslite.data.skipped import Explain, SkippedImage, refuse_too_many, skipped_image
from fcoslite.errors import ConfigError
from fcoslite.machine.distribute import even_stretch
from fcoslite.machine.threads import map_in_order
from fcoslite.progress import Progress
from fcoslite.storage.files import file_size, replace_file
from fcoslite.storage.places import is_remote, read_bytes, send

_log = logging.getLogger("fcoslite")

_JOURNAL = ".{}.json"
_UNFINISHED = ".{}.{}.unfinished"
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
class Cut:
    """How an order of images is cut into files.

    Attributes:
        images: In all; at least one.
        images_per_shard: For each file but the last.
        prefix: Of the files' names.
    """

    images: int
    images_per_shard: int
    prefix: str

    def __len__(self) -> int:
        """How many files that makes, those included that turn out empty."""
        return -(-self.images // self.images_per_shard)

    def name(self, index: int) -> str:
        """Of file `index`."""
        return f"{self.prefix}-{index:05d}-of-{len(self):05d}.tfrecord"

    def places(self, index: int) -> range:
        """Of the images of file `index`, in the order."""
        start = index * self.images_per_shard
        return range(start, min(start + self.images_per_shard, self.images))


@dataclass(frozen=True)
class Share:
    """What one of `of` processes, counted from 0, writes of a set."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Of `2/8`.

        Raises:
            ConfigError: It is no share.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        if match is None or int(match[1]) >= int(match[2]):
            raise ConfigError(f"the share is '{text}'", "it is one of 0/8, 1/8, ... 7/8 for eight processes")
        return cls(int(match[1]), int(match[2]))

    def of_files(self, count: int) -> range:
        """Which of `count` files it is: a stretch, as long as the others' or one longer.

        Raises:
            ConfigError: There are more shares than files.
        """
        if self.of > count:
            raise ConfigError(f"there are {self.of} shares of {count} files", f"use at most {count}, counted from 0")
        return even_stretch(count, self.index, self.of)


@dataclass(frozen=True)
class WrittenShard:
    """A finished file; its journal.

    Attributes:
        shard: For the manifest. Its count is 0, and there is no file, if none of its images can be used.
        boxes: In its records, crowds included.
        max_boxes: Most boxes of one record.
        skipped: Images without a record.
    """

    shard: Shard
    boxes: int
    max_boxes: int
    skipped: tuple[SkippedImage, ...]

    @property
    def images(self) -> int:
        """Images that it was made of."""
        return self.shard.count + len(self.skipped)


def write_shards(
    images: Sequence[LabelledImage],
    cut: Cut,
    record: Callable[[LabelledImage], RecordBytes],
    folder: Path,
    workers: int,
    max_skipped: str,
    progress: Progress,
    explain: Explain | None = None,
    which: range | None = None,
) -> list[WrittenShard]:
    """Write the records of images in this process, but for the files that are finished.

    Args:
        images: The order.
        cut: How it is cut into files.
        record: Makes one record.
        folder: For the files.
        workers: Threads that make records.
        max_skipped: Most images that may be skipped: a count, or a share such as `1%`.
        progress: Told about every image.
        explain: Asked when too many had to be skipped.
        which: Files to write; None: all.

    Returns:
        These files, in order.

    Raises:
        OSError: A file cannot be written.
        TooManySkippedError: More images had to be skipped.
    """
    which = range(len(cut)) if which is None else which
    written = {index: shard for index in which if (shard := finished_shard(folder / cut.name(index)))}
    missing = [index for index in which if index not in written]
    skipped = [image for shard in written.values() for image in shard.skipped]
    refuse_too_many(skipped, len(images), max_skipped, _LIST, explain)
    total = sum(len(cut.places(index)) for index in which)
    with progress("Building records", total, "images") as advance:
        if written:
            done = sum(shard.images for shard in written.values())
            _log.info("%d of %d images are done", done, total)
            advance(done)

        def tell(records: Iterator[RecordBytes]) -> Generator[RecordBytes, None, None]:
            for made in records:
                advance()
                if made.skipped is not None:
                    skipped.append(made.skipped)
                    refuse_too_many(skipped, len(images), max_skipped, _LIST, explain)
                yield made

        # one stream for all files, so that no thread is idle while a file is finished
        places = chain.from_iterable(cut.places(index) for index in missing)
        stream = map_in_order(record, (images[place] for place in places), workers)
        with closing(stream) as made, closing(tell(made)) as records:
            for index in missing:
                written[index] = write_shard(islice(records, len(cut.places(index))), folder / cut.name(index))
    return [written[index] for index in which]


def write_shard(records: Iterable[RecordBytes], path: Path) -> WrittenShard:
    """Write one file and its journal; the same records give the same bytes, and may be written twice at once.

    Raises:
        OSError: It cannot be written.
    """
    import tensorflow as tf

    boxes: list[int] = []
    skipped = []
    unfinished = path.with_name(_UNFINISHED.format(path.name, uuid4().hex))
    if is_remote(path):
        unfinished = Path(tempfile.gettempdir(), unfinished.name)
    try:
        with tf.io.TFRecordWriter(os.fsencode(unfinished)) as writer:
            for made in records:
                if made.skipped is not None:
                    skipped.append(made.skipped)
                    continue
                writer.write(made.serialized)
                boxes.append(len(made.image.class_ids))
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        shard = Shard(path.name, len(boxes), digest, unfinished.stat().st_size)
        if boxes and is_remote(path):
            send(unfinished, path)
        elif boxes:
            unfinished.replace(path)
    except tf.errors.OpError as error:
        raise OSError(error.message) from None
    finally:
        unfinished.unlink(missing_ok=True)
    written = WrittenShard(shard, sum(boxes), max(boxes, default=0), tuple(skipped))
    replace_file(_journal(path), msgspec.json.encode(written))
    return written


def finished_shard(path: Path) -> WrittenShard | None:
    """What the journal of a file says, if the file is there as it says; else, None: it is to be written."""
    try:
        written = msgspec.json.decode(read_bytes(_journal(path)), type=WrittenShard)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        written = None
    if written is None or (written.shard.count and file_size(path) != written.shard.size):
        _log.warning("what a run before has left of %s is damaged: made again", path.name)
        return None
    return written


def clear_journals(folder: Path) -> None:
    """Delete what was needed only to go on after a kill."""
    for pattern in (_JOURNAL.format("*.tfrecord"), _UNFINISHED.format("*.tfrecord", "*")):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _journal(path: Path) -> Path:
    return path.with_name(_JOURNAL.format(path.name))
