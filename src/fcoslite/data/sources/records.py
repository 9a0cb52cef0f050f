"""Records as a source of batches, through tf.data."""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.config.settings import ComputeSettings, DataSettings
from fcoslite.data.dataset import LabelledImage
from fcoslite.data.records.cache import ShardCache
from fcoslite.data.records.manifest import REBUILD, RecordsManifest, load_manifest, read_manifest
from fcoslite.data.records.schema import blank_record, labelled_image, parse_record
from fcoslite.data.records.verify import find_bad_records
from fcoslite.data.skipped import go_without
from fcoslite.data.sources.source import WHOLE_BATCH, Batch, BatchShare, Change, digest, grouped, steps_per_pass
from fcoslite.errors import ConfigError, DataError
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.machine import distribute
from fcoslite.machine.backend import load_tensorflow
from fcoslite.progress import Progress, no_progress
from fcoslite.storage.files import file_size
from fcoslite.storage.places import is_remote

_MIXED_SHARDS = 4  # at the same time
_EMPTY = "Dataset was empty"  # says TensorFlow of what should be one record
_FRAME = 16  # bytes of a TFRecord beside the record: its length, and two checksums


@dataclass(frozen=True)
class RecordSource:
    """A range of the records in a folder, read by tf.data.

    Attributes:
        folder: Holds the shards.
        manifest: Of that folder.
        records: Positions, in the manifest's order.
        shuffle_buffer: Records that are shuffled among each other.
        workers: Decoding threads.
        prefetch: Batches prepared ahead.
        bad: Positions of records that cannot be read. In training each is an empty grey image, so that the others keep
            their places and a run can be resumed whatever was lost; in evaluation they are left out.
        cache: Of a folder that is remote.
    """

    folder: Path
    manifest: RecordsManifest
    records: range
    shuffle_buffer: int
    workers: int
    prefetch: int
    bad: frozenset[int] = frozenset()
    cache: ShardCache | None = None

    @classmethod
    def open(
        cls, folder: Path, data: DataSettings, compute: ComputeSettings, skip_bad_records: bool = False
    ) -> "RecordSource":
        """All records of a folder.

        Args:
            folder: Holds the shards and their manifest.
            data: How to shuffle.
            compute: Threads and batches ahead.
            skip_bad_records: Shards may be missing or cut off; `checked` will say which records are lost.

        Raises:
            DataError: The folder holds no complete set of records.
            ConfigError: `skip_bad_records` is asked for at an address.
        """
        if skip_bad_records and is_remote(folder):
            raise ConfigError("--skip-bad-records is for records on a disk", f"copy {folder} to one, or {REBUILD}")
        load_tensorflow()
        manifest = load_manifest(folder) if skip_bad_records else read_manifest(folder)
        everything = range(manifest.count)
        cache = ShardCache.open(folder, manifest, data.cache_gb) if is_remote(folder) else None
        return cls(folder, manifest, everything, data.shuffle_buffer, compute.workers, compute.prefetch, cache=cache)

    def checked(self, skip_bad_records: bool = False, progress: Progress = no_progress) -> "RecordSource":
        """The same source, after its shards were compared with their checksums: remote ones when they are fetched.

        Processes that train together share them out, and tell each other what they find; all of them must call it.

        Args:
            skip_bad_records: Whether to go without the records that are damaged.
            progress: Told about every shard that falls to this process.

        Raises:
            DataError: Records are damaged and may not be skipped, or none is left.
            ClusterError: Another process cannot go on.
        """
        if self.cache is not None:
            return self
        ours = find_bad_records(self.folder, self.manifest, self._to_check(), self.workers, progress)
        bad = {position: fault for found in distribute.gather(ours) for position, fault in found.items()}
        if not bad:
            return self
        first = bad[min(bad)]
        message = f"{len(bad)} of {len(self)} records in {self.folder} cannot be used; the first: {first}"
        hint = f"`fcoslite records verify {self.folder} --deep` names them; copy those shards again, or {REBUILD}"
        return replace(self, bad=go_without(bad, len(self), message, hint, skip_bad_records))

    def _to_check(self) -> range:
        """Those of our records that this process compares for all: as many shards as the others, or one more."""
        pieces = [ours for _, _, ours in self.manifest.shards_of(self.records)]
        mine = distribute.group().part(len(pieces))
        return range(pieces[mine.start].start, pieces[mine.stop - 1].stop) if mine else range(0)

    def part(self, records: range) -> "RecordSource":
        """The same source, of these records only."""
        return replace(self, records=records)

    def stretch(self, places: range) -> "RecordSource":
        """See `Source`."""
        return replace(self, records=self.records[places.start : places.stop])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id - 1."""
        return self.manifest.class_names

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        return self.manifest.image_size

    @property
    def fingerprint(self) -> str:
        """See `Source`."""
        return digest(shard.sha256 for shard in self.manifest.shards)

    def __len__(self) -> int:
        return len(self.records)

    def training_batches(
        self, batch_size: int, seed: int, first_step: int, share: BatchShare = WHOLE_BATCH
    ) -> Iterable[Batch]:
        """See `Source`."""
        shuffled = self._shuffled(batch_size, seed, first_step)
        rows = share.rows(batch_size)
        if len(rows) < batch_size:
            shuffled = shuffled.enumerate()
            shuffled = shuffled.filter(lambda number, _: number % batch_size // len(rows) == share.index)
            shuffled = shuffled.map(lambda _, place: place)
        return self._decoded(shuffled).batch(len(rows), drop_remainder=True).prefetch(self.prefetch)

    def training_ids(self, batch_size: int, seed: int, step: int) -> list[int]:
        """See `Source`."""
        places = self._shuffled(batch_size, seed, step).take(batch_size)
        return [int(parse_record(record)["image_id"]) for record in places.map(self._read)]

    def _shuffled(self, batch_size: int, seed: int, first_step: int) -> Any:
        """Endless places of records, in the order of `training_batches`; only what is taken of it is read."""
        import tensorflow as tf

        steps = steps_per_pass(len(self), batch_size)
        first_pass, skipped_steps = divmod(first_step, steps)
        files, runs = self._pieces(keep_places=True)

        def one_pass(number: tf.Tensor) -> tf.data.Dataset:
            order = tf.random.experimental.stateless_shuffle(tf.range(len(files)), seed=[seed, number])
            shuffled = tf.gather(files, order), tf.gather(runs, order)
            # shards are mixed, then shuffled in windows by stateless operations: Dataset.shuffle takes no seed that
            # depends on the pass, and without one no pass could be repeated on its own
            places = tf.data.Dataset.from_tensor_slices(shuffled).interleave(
                self._places, cycle_length=_MIXED_SHARDS, block_length=1
            )
            windows = places.batch(min(self.shuffle_buffer, len(self))).enumerate()

            def shuffle(index: tf.Tensor, window: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
                within = tf.range(tf.shape(window[0])[0])
                order = tf.random.experimental.stateless_shuffle(within, [seed * 65_537 + number, index])
                return tf.gather(window[0], order), tf.gather(window[1], order)

            places = windows.map(shuffle).unbatch()
            if len(self) < batch_size:
                places = places.repeat()
            skipped = tf.where(number == first_pass, skipped_steps * batch_size, 0)
            return places.take(steps * batch_size).skip(tf.cast(skipped, tf.int64))

        return tf.data.Dataset.counter(first_pass).flat_map(one_pass)

    def evaluation_batches(
        self, batch_size: int, change: Change | None = None
    ) -> Iterator[tuple[Batch, list[LabelledImage]]]:
        """See `Source`."""
        import tensorflow as tf

        places = tf.data.Dataset.from_tensor_slices(self._pieces(keep_places=False)).flat_map(self._places)
        examples = tf.data.Dataset.zip(self._decoded(places), places.map(self._read))
        with records_must_be_readable():
            for group in grouped(examples.prefetch(self.prefetch * batch_size), batch_size):
                batch = {key: np.stack([decoded[key].numpy() for decoded, _ in group]) for key in group[0][0]}
                labels = [labelled_image(record.numpy(), self.image_size) for _, record in group]
                if change is not None:
                    for pixels, label in zip(batch["images"], labels, strict=True):
                        inside = Letterbox.square(label.height, label.width, self.image_size).inside
                        pixels[inside] = change(pixels[inside], label)
                yield batch, labels

    def letterboxed(
        self, step: int, change: Change | None = None
    ) -> Iterator[tuple[np.ndarray, Letterbox, LabelledImage]]:
        """See `Source`."""
        for batch, labels in self.evaluation_batches(1, change):
            for pixels, label in zip(batch["images"], labels, strict=True):
                yield pixels, Letterbox.square(label.height, label.width, self.image_size), label

    def _pieces(self, keep_places: bool) -> tuple[list[bytes], Any]:
        """File and runs of every shard that holds some of ours.

        A run is: records to skip from the file's start, records to read, and bad ones after them to stand in for; none
        of these unless the places of bad records are kept.
        """
        import tensorflow as tf

        files: list[bytes] = []
        runs: list[list[list[int]]] = []
        for shard, start, ours in self.manifest.shards_of(self.records):
            files.append(os.fsencode(shard.name if self.cache is not None else self.folder / shard.name))
            runs.append([])
            for is_bad, group in groupby(ours, key=self.bad.__contains__):
                positions = list(group)
                if not is_bad:
                    runs[-1].append([positions[0] - start, len(positions), 0])
                elif keep_places:
                    runs[-1].append([0, 0, len(positions)])
        return files, tf.ragged.constant(runs, tf.int64, ragged_rank=1, inner_shape=(3,))

    def _places(self, file: Any, runs: Any) -> Any:
        """File and offset of every record of the runs, see `_pieces`; -1 in place of bad ones.

        Of a remote folder, name and number in the file: it may be another process' to read, or be skipped.
        """
        import tensorflow as tf

        needed = tf.reduce_max(tf.concat([[0], runs[:, 0] + runs[:, 1]], 0))
        offsets = tf.numpy_function(_offsets, [file, needed], tf.int64) if self.cache is None else tf.range(needed)

        def of_run(run: Any) -> Any:
            bad = tf.fill([run[2]], tf.constant(-1, tf.int64))
            return tf.data.Dataset.from_tensor_slices(tf.concat([offsets[run[0] : run[0] + run[1]], bad], 0))

        return tf.data.Dataset.from_tensor_slices(runs).flat_map(of_run).map(lambda offset: (file, offset))

    def _fetched(self, name: bytes, number: int) -> tuple[bytes, np.int64]:
        """The local copy of a remote file, and where its record of that number begins."""
        assert self.cache is not None
        shard = os.fsdecode(name)
        path = os.fsencode(self.cache.local(shard))
        return path, _kept_offsets(path, self.cache.shards[shard].count)[number]

    def _read(self, file: Any, offset: Any) -> Any:
        """The record at an offset of a file; below 0, the one in place of a bad one. See `_places`."""
        import tensorflow as tf

        def read() -> Any:
            path, begin = file, offset
            if self.cache is not None:
                fetched = tf.numpy_function(self._fetched, [file, offset], (tf.string, tf.int64))
                path, begin = (tf.ensure_shape(value, ()) for value in fetched)
            variant = tf.raw_ops.TFRecordDatasetV2(
                filenames=[path], compression_type="", buffer_size=0, byte_offsets=[begin]
            )
            return tf.data.experimental.from_variant(variant, tf.TensorSpec((), tf.string)).take(1).get_single_element()

        return tf.cond(offset < 0, lambda: tf.constant(blank_record(self.image_size)), read)

    def _decoded(self, places: Any) -> Any:
        import tensorflow as tf

        size, most = self.image_size, max(1, self.manifest.max_boxes)

        def decode(file: tf.Tensor, offset: tf.Tensor) -> Batch:
            parsed = parse_record(self._read(file, offset))
            image = tf.io.decode_image(parsed["image_bytes"], channels=3, expand_animations=False)
            padding = most - tf.shape(parsed["boxes"])[0]
            return {
                "images": tf.ensure_shape(image, (size, size, 3)),
                "boxes": tf.ensure_shape(tf.pad(parsed["boxes"], [[0, padding], [0, 0]]), (most, 5)),
                "crowd": tf.ensure_shape(tf.pad(parsed["crowd"], [[0, padding]]), (most,)),
                "scores": tf.ensure_shape(tf.pad(parsed["scores"], [[0, padding]]), (most,)),
            }

        return places.map(decode, num_parallel_calls=self.workers, deterministic=True)


def _offsets(file: bytes, count: int) -> np.ndarray:
    """Where the first records of a file begin, as far as their lengths say it: [count] int64.

    For a file that was cut off since it was checked, the rest is its last byte, where no record can be read.
    """
    path = Path(os.fsdecode(file))
    size = file_size(path)
    offsets = np.full(count, max(0, size - 1), np.int64)
    offset = 0
    with suppress(OSError), path.open("rb", buffering=0) as shard:  # TensorFlow will tell, when it reads a record
        for number in range(count):
            if offset >= size:
                break
            offsets[number] = offset
            shard.seek(offset)
            offset += int.from_bytes(shard.read(8), "little") + _FRAME
    return offsets


@lru_cache(maxsize=4096)
def _kept_offsets(file: bytes, count: int) -> np.ndarray:
    """`_offsets` of a file that never changes."""
    return _offsets(file, count)


@contextmanager
def records_must_be_readable() -> Iterator[None]:
    """Tell in our words that shards have vanished or changed since they were checked.

    Raises:
        DataError: TensorFlow could not read a shard.
    """
    tensorflow = sys.modules.get("tensorflow")  # without it, it has read nothing
    try:
        yield
    except Exception as error:
        told_by_us = re.search(r"fcoslite\.errors\.\w+: (.+)", str(error))  # from within TensorFlow
        if told_by_us:
            raise DataError(
                told_by_us[1],
                "records at an address are checked when they are fetched, and kept on this machine: see data.cache_gb",
            ) from error
        errors = tensorflow.errors if tensorflow else None
        lost = errors and isinstance(error, (errors.NotFoundError, errors.DataLossError, errors.PermissionDeniedError))
        ended = errors and isinstance(error, errors.InvalidArgumentError) and _EMPTY in str(error)
        if not lost and not ended:
            raise
        # without the names of TensorFlow's nodes; where they were called from comes first
        told = re.sub(r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:.*?\]|name: ", "", str(error)).strip().splitlines()
        reason = "a shard ends before one of its records: cut off" if ended else told[-1].strip() if told else ""
        raise DataError(
            f"records cannot be read any more: {reason or type(error).__name__}",
            "they were whole at the start: `fcoslite records verify --deep` names the bad ones",
        ) from error
