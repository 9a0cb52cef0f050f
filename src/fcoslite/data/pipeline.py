"""Sources of batches: TFRecords through tf.data, or a COCO folder through OpenCV. Both yield the same batches.

A batch is a dict of
    images  [B, S, S, 3] uint8, letterboxed RGB
    boxes   [B, M, 5] float32: class id, x_min, y_min, x_max, y_max in letterboxed pixels; zeros as padding
    crowd   [B, M] bool
    mask    [B, M] bool, True where there is a box
M is the most boxes any image of the set has: no box is ever dropped.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, groupby, tee
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fcoslite.backend import load_tensorflow
from fcoslite.config import ComputeSettings, DataSettings
from fcoslite.data.build import blank_record
from fcoslite.data.coco import CocoDataset, LabelledImage, read_labelled
from fcoslite.data.manifest import REBUILD, RecordsManifest, load_manifest, read_manifest
from fcoslite.data.parallel import map_in_order
from fcoslite.data.records import parse_record
from fcoslite.data.verify import find_bad_records
from fcoslite.errors import DataError
from fcoslite.letterbox import PAD_COLOUR, Letterbox
from fcoslite.progress import Progress, no_progress

_log = logging.getLogger("fcoslite")

Batch = dict[str, Any]

_MIXED_SHARDS = 4  # read at the same time


class Source(Protocol):
    """Images with boxes, in batches."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id - 1."""
        ...

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the whole set that this is a part of: the same images in the same order have the same."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def training_batches(self, batch_size: int, seed: int, first_step: int) -> Iterable[Batch]:
        """Endless full batches, shuffled anew each pass.

        What comes depends only on the arguments: batch k of a run is batch 0 of the run resumed at step k.
        """
        ...

    def training_ids(self, batch_size: int, seed: int, step: int) -> list[int]:
        """Image ids of one batch of `training_batches`."""
        ...

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[Batch, list[LabelledImage]]]:
        """All images once, in order, with their ground truth in original pixels; the last batch may be short."""
        ...


def steps_per_pass(images: int, batch_size: int) -> int:
    """Full batches in one pass over the data; at least 1: a smaller set is repeated to fill a batch."""
    return max(1, images // batch_size)


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
        if len(bad) == len(self):
            raise DataError(message, hint)
        if not skip_bad_records:
            raise DataError(message, f"{hint}, or go without them: --skip-bad-records")
        _log.warning("%s; going on without them", message)
        return replace(self, bad=frozenset(bad))

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
        return _digest(shard.sha256 for shard in self.manifest.shards)

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

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[Batch, list[LabelledImage]]]:
        """See `Source`."""
        import tensorflow as tf

        serialized = tf.data.Dataset.from_tensor_slices(self._pieces(keep_places=False)).flat_map(self._read)
        examples = tf.data.Dataset.zip(self._decoded(serialized), serialized.map(parse_record))
        for group in _grouped(examples.prefetch(self.prefetch * batch_size), batch_size):
            batch = {key: np.stack([decoded[key].numpy() for decoded, _ in group]) for key in group[0][0]}
            yield batch, [self._label(parsed) for _, parsed in group]

    def _pieces(self, keep_places: bool) -> tuple[list[str], Any]:
        """File and runs of every shard that holds some of ours.

        A run is: records to skip from the file's start, records to read, and bad ones after them to stand in for; none
        of these unless the places of bad records are kept.
        """
        import tensorflow as tf

        files: list[str] = []
        runs: list[list[list[int]]] = []
        for shard, start, ours in self.manifest.shards_of(self.records):
            files.append(str(self.folder / shard.name))
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
            count = tf.shape(parsed["boxes"])[0]
            padding = most - count
            return {
                "images": tf.ensure_shape(image, (size, size, 3)),
                "boxes": tf.ensure_shape(tf.pad(parsed["boxes"], [[0, padding], [0, 0]]), (most, 5)),
                "crowd": tf.ensure_shape(tf.pad(parsed["crowd"], [[0, padding]]), (most,)),
                "mask": tf.range(most) < count,
            }

        return serialized.map(decode, num_parallel_calls=self.workers, deterministic=True)

    def _label(self, parsed: dict[str, Any]) -> LabelledImage:
        height, width = int(parsed["height"]), int(parsed["width"])
        boxes = parsed["boxes"].numpy()
        return LabelledImage(
            image_id=int(parsed["image_id"]),
            file_name=parsed["file_name"].numpy().decode(),
            height=height,
            width=width,
            boxes_xyxy=Letterbox(height, width, self.image_size).invert_boxes(boxes[:, 1:]),
            class_ids=boxes[:, 0].astype(np.int32),
            iscrowd=parsed["crowd"].numpy(),
            areas=parsed["areas"].numpy(),
        )


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _grouped(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    group: list[Any] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


@dataclass(frozen=True)
class FolderSource:
    """A COCO data set read image by image, without records and without TensorFlow.

    Attributes:
        dataset: Images and boxes.
        images: The images used, in order.
        image_size: Side to letterbox to, pixels.
        workers: Decoding threads.
    """

    dataset: CocoDataset
    images: tuple[LabelledImage, ...]
    image_size: int
    workers: int

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id - 1."""
        return self.dataset.class_names

    @property
    def fingerprint(self) -> str:
        """See `Source`."""
        return _digest(f"{image.image_id}:{len(image.boxes_xyxy)}" for image in self.dataset.images)

    @cached_property
    def _most_boxes(self) -> int:
        return max(1, max(len(image.boxes_xyxy) for image in self.dataset.images))

    def __len__(self) -> int:
        return len(self.images)

    def training_batches(self, batch_size: int, seed: int, first_step: int) -> Iterable[Batch]:
        """See `Source`."""
        groups = self._shuffled(batch_size, seed, first_step)
        return (batch for batch, _ in self._load(groups, self._read_or_skip))

    def training_ids(self, batch_size: int, seed: int, step: int) -> list[int]:
        """See `Source`."""
        return [image.image_id for image in next(self._shuffled(batch_size, seed, step))]

    def _shuffled(self, batch_size: int, seed: int, first_step: int) -> Iterator[list[LabelledImage]]:
        """The images of `training_batches`."""
        steps = steps_per_pass(len(self), batch_size)
        number, step = divmod(first_step, steps)
        while True:
            order = np.random.default_rng([seed, number]).permutation(len(self))
            # a set smaller than a batch is repeated
            order = np.resize(order, max(len(order), batch_size))
            for start in range(step * batch_size, steps * batch_size, batch_size):
                yield [self.images[index] for index in order[start : start + batch_size]]
            number, step = number + 1, 0

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[Batch, list[LabelledImage]]]:
        """See `Source`."""
        starts = range(0, len(self), batch_size)
        groups = (list(self.images[start : start + batch_size]) for start in starts)
        return self._load(groups, self._read)

    def _load(
        self, groups: Iterable[list[LabelledImage]], read: Callable[[LabelledImage], np.ndarray | None]
    ) -> Iterator[tuple[Batch, list[LabelledImage]]]:
        """Decode groups of images, a few images ahead of the group that is asked for."""
        ahead, now = tee(groups)
        pixels = map_in_order(read, chain.from_iterable(ahead), self.workers)
        for group in now:
            yield self._collect(group, [next(pixels) for _ in group]), group

    def _read(self, image: LabelledImage) -> np.ndarray:
        pixels = read_labelled(image, self.dataset.folder)
        return Letterbox(image.height, image.width, self.image_size).apply_image(pixels)

    def _read_or_skip(self, image: LabelledImage) -> np.ndarray | None:
        # an exception would come out of Keras as something else, in a thread of TensorFlow's
        try:
            return self._read(image)
        except DataError as error:
            _log.warning("left out of this batch: %s", error.message)
            return None

    def _collect(self, group: list[LabelledImage], pixels: list[np.ndarray | None]) -> Batch:
        most, size = self._most_boxes, self.image_size
        images = np.full((len(group), size, size, 3), PAD_COLOUR, np.uint8)
        boxes = np.zeros((len(group), most, 5), np.float32)
        crowd = np.zeros((len(group), most), bool)
        mask = np.zeros((len(group), most), bool)
        for row, (image, decoded) in enumerate(zip(group, pixels, strict=True)):
            if decoded is None:
                continue  # stays an empty grey square
            images[row] = decoded
            count = len(image.boxes_xyxy)
            letterbox = Letterbox(image.height, image.width, size)
            boxes[row, :count, 0] = image.class_ids
            boxes[row, :count, 1:] = letterbox.apply_boxes(image.boxes_xyxy)
            crowd[row, :count] = image.iscrowd
            mask[row, :count] = True
        return {"images": images, "boxes": boxes, "crowd": crowd, "mask": mask}
