"""Records as a source of batches, through tf.data."""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.config.settings import ComputeSettings, DataSettings
from fcoslite.data.dataset import LabelledImage
from fcoslite.data.records.manifest import REBUILD, RecordsManifest, load_manifest, read_manifest
from fcoslite.data.records.schema import blank_record, labelled_image, parse_record
from fcoslite.data.records.verify import find_bad_records
from fcoslite.data.skipped import go_without
from fcoslite.data.sources.source import Batch, Change, digest, grouped, steps_per_pass
from fcoslite.errors import DataError
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.machine.backend import load_tensorflow
from fcoslite.progress import Progress, no_progress

_MIXED_SHARDS = 4  # read at the same time


@dataclass(frozen=True)
class RecordSource:
    """A range of the records in a folder, read by tf.data.

    Attributes:
        folder: Holds the shards.
        manifest: Of that folder.
        records: Positions, in the manifest's order.
        shuffle_buffer: Encoded records held for shuffling.
        workers: Decoding threads.
        prefetch: Batches prepared ahead.
        bad: Positions of records that cannot be read. In training each is an empty grey image, so that the others keep
            their places and a run can be resumed whatever was lost; in evaluation they are left out.
    """

    folder: Path
    manifest: RecordsManifest
    records: range
    shuffle_buffer: int
    workers: int
    prefetch: int
    bad: frozenset[int] = frozenset()

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
        """
        load_tensorflow()
        manifest = load_manifest(folder) if skip_bad_records else read_manifest(folder)
        everything = range(manifest.count)
        return cls(folder, manifest, everything, data.shuffle_buffer, compute.workers, compute.prefetch)

    def checked(self, skip_bad_records: bool = False, progress: Progress = no_progress) -> "RecordSource":
        """The same source, after its shards were compared with their checksums.

        Args:
            skip_bad_records: Whether to go without the records that are damaged.
            progress: Told about every shard.

        Raises:
            DataError: Records are damaged and may not be skipped, or none is left.
        """
        bad = find_bad_records(self.folder, self.manifest, self.records, self.workers, progress)
        if not bad:
            return self
        first = bad[min(bad)]
        message = f"{len(bad)} of {len(self)} records in {self.folder} cannot be used; the first: {first}"
        hint = f"`fcoslite records verify {self.folder} --deep` names them; copy those shards again, or {REBUILD}"
        return replace(self, bad=go_without(bad, len(self), message, hint, skip_bad_records))

    def part(self, records: range) -> "RecordSource":
        """The same source, of these records only."""
        return replace(self, records=records)

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

    def training_batches(self, batch_size: int, seed: int, first_step: int) -> Iterable[Batch]:
        """See `Source`."""
        serialized = self._shuffled(batch_size, seed, first_step)
        return self._decoded(serialized).batch(batch_size, drop_remainder=True).prefetch(self.prefetch)

    def training_ids(self, batch_size: int, seed: int, step: int) -> list[int]:
        """See `Source`."""
        serialized = self._shuffled(batch_size, seed, step).take(batch_size)
        return [int(parse_record(record)["image_id"]) for record in serialized]

    def _shuffled(self, batch_size: int, seed: int, first_step: int) -> Any:
        """Endless encoded records, in the order of `training_batches`."""
        import tensorflow as tf

        steps = steps_per_pass(len(self), batch_size)
        first_pass, skipped_steps = divmod(first_step, steps)
        files, runs = self._pieces(keep_places=True)

        def one_pass(number: tf.Tensor) -> tf.data.Dataset:
            order = tf.random.experimental.stateless_shuffle(tf.range(len(files)), seed=[seed, number])
            shuffled = tf.gather(files, order), tf.gather(runs, order)
            # shards are mixed, then shuffled in windows by stateless operations: Dataset.shuffle takes no seed that
            # depends on the pass, and without one no pass could be repeated on its own
            serialized = tf.data.Dataset.from_tensor_slices(shuffled).interleave(
                self._read, cycle_length=_MIXED_SHARDS, block_length=1
            )
            windows = serialized.batch(min(self.shuffle_buffer, len(self))).enumerate()
            serialized = windows.map(
                lambda index, window: tf.random.experimental.stateless_shuffle(window, [seed * 65_537 + number, index])
            ).unbatch()
            if len(self) < batch_size:
                serialized = serialized.repeat()
            # skipping before decoding makes resuming in the middle of a pass cheap
            skipped = tf.where(number == first_pass, skipped_steps * batch_size, 0)
            return serialized.take(steps * batch_size).skip(tf.cast(skipped, tf.int64))

        return tf.data.Dataset.counter(first_pass).flat_map(one_pass)

    def evaluation_batches(
        self, batch_size: int, change: Change | None = None
    ) -> Iterator[tuple[Batch, list[LabelledImage]]]:
        """See `Source`."""
        import tensorflow as tf

        serialized = tf.data.Dataset.from_tensor_slices(self._pieces(keep_places=False)).flat_map(self._read)
        examples = tf.data.Dataset.zip(self._decoded(serialized), serialized)
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
            files.append(os.fsencode(self.folder / shard.name))
            runs.append([])
            for is_bad, group in groupby(ours, key=self.bad.__contains__):
                positions = list(group)
                if not is_bad:
                    runs[-1].append([positions[0] - start, len(positions), 0])
                elif keep_places:
                    runs[-1].append([0, 0, len(positions)])
        return files, tf.ragged.constant(runs, tf.int64, ragged_rank=1, inner_shape=(3,))

    def _read(self, file: Any, runs: Any) -> Any:
        import tensorflow as tf

        def read_run(run: Any) -> Any:
            blanks = tf.data.Dataset.from_tensors(blank_record(self.image_size)).repeat(run[2])
            return tf.data.TFRecordDataset(file).skip(run[0]).take(run[1]).concatenate(blanks)

        return tf.data.Dataset.from_tensor_slices(runs).flat_map(read_run)

    def _decoded(self, serialized: Any) -> Any:
        import tensorflow as tf

        size, most = self.image_size, max(1, self.manifest.max_boxes)

        def decode(record: tf.Tensor) -> Batch:
            parsed = parse_record(record)
            image = tf.io.decode_image(parsed["image_bytes"], channels=3, expand_animations=False)
            padding = most - tf.shape(parsed["boxes"])[0]
            return {
                "images": tf.ensure_shape(image, (size, size, 3)),
                "boxes": tf.ensure_shape(tf.pad(parsed["boxes"], [[0, padding], [0, 0]]), (most, 5)),
                "crowd": tf.ensure_shape(tf.pad(parsed["crowd"], [[0, padding]]), (most,)),
                "scores": tf.ensure_shape(tf.pad(parsed["scores"], [[0, padding]]), (most,)),
            }

        return serialized.map(decode, num_parallel_calls=self.workers, deterministic=True)


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
        errors = tensorflow.errors if tensorflow else None
        if not errors or not isinstance(
            error, (errors.NotFoundError, errors.DataLossError, errors.PermissionDeniedError)
        ):
            raise
        # without the names of TensorFlow's nodes; where they were called from comes first
        told = re.sub(r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:.*?\]|name: ", "", str(error)).strip().splitlines()
        raise DataError(
            f"records cannot be read any more: {told[-1].strip() if told else type(error).__name__}",
            "they were whole at the start: `fcoslite records verify --deep` names the bad ones",
        ) from error
