"""Sets of TFRecord shards: build them from a COCO folder, know what is in them, parse their records."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from fcoslite import __version__
from fcoslite.backend import load_tensorflow
from fcoslite.data.build import (
    RecordBytes,
    Shard,
    encode_image,
    make_record,
    write_shards,
)
from fcoslite.data.coco import CocoDataset, LabelledImage, read_coco, seeded_order
from fcoslite.data.parallel import map_in_order, one_opencv_thread
from fcoslite.data.staging import (
    MANIFEST,
    check_free_space,
    check_output,
    free_bytes,
    staged_folder,
    write_json,
)
from fcoslite.errors import ConfigError, DataError
from fcoslite.progress import Advance, Progress, no_progress

if TYPE_CHECKING:
    import tensorflow as tf

_logger = logging.getLogger("fcoslite.data")

KIND = "fcoslite-records"
FORMAT = 1
Encoding = Literal["png", "jpeg"]
# Around 85 MB of PNG at 512 pixels: large enough to read in one go, small enough to shuffle and share out.
RECORDS_PER_SHARD = 256
_SAMPLES = 16


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
    format: int = FORMAT


@dataclass(frozen=True)
class BuildResult:
    """What was built, or would be.

    Attributes:
        out: The folder.
        class_names: Names by class id - 1.
        images: Records; in a dry run, images to read.
        boxes: Boxes in all, crowds included.
        skipped_images: Images that could not be used; unknown, 0, in a dry run.
        shards: Files.
        size_bytes: Of the shards; an estimate in a dry run.
        free_bytes: Free space on that disk, before.
    """

    out: Path
    class_names: tuple[str, ...]
    images: int
    boxes: int
    skipped_images: int
    shards: int
    size_bytes: int
    free_bytes: int


def read_manifest(folder: Path) -> RecordsManifest:
    """Read a set's manifest and check that its shards are there.

    Raises:
        DataError: There is no manifest, it cannot be read, or a shard is missing or of another size.
    """
    rebuild = "build the records with `fcoslite build-records`"
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"no records at {folder}: it has no {MANIFEST}", f"{rebuild}, or name their folder")
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=RecordsManifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a manifest of records: {error}", rebuild) from None
    if manifest.format != FORMAT:
        raise DataError(f"{path} is of format {manifest.format}, this fcoslite reads {FORMAT}", rebuild)
    for shard in manifest.shards:
        file = folder / shard.name
        if not file.is_file():
            raise DataError(f"{folder} lacks the shard {shard.name}", f"copy it there, or {rebuild} --overwrite")
        if file.stat().st_size != shard.size:
            raise DataError(
                f"{file} has {file.stat().st_size} bytes, not {shard.size}",
                f"copy it again, or {rebuild} --overwrite",
            )
    return manifest


def build_records(
    data: Path,
    out: Path,
    limit: int | None = None,
    image_size: int = 512,
    encoding: Encoding = "png",
    workers: int | None = None,
    seed: int = 0,
    records_per_shard: int = RECORDS_PER_SHARD,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> BuildResult:
    """Letterbox the images of a COCO folder into TFRecord shards, in a seeded order.

    The same input and arguments give the same bytes, whatever the number of workers.

    Args:
        data: Folder with annotations.json and images/, as `extract` writes it.
        out: Folder to write; nothing appears there before it is complete.
        limit: Take the first so many of the order; None, or more than there are: all.
        image_size: Side of the letterboxed images, pixels; a multiple of 32.
        encoding: Of the images: png, without loss, or jpeg of quality 95, a quarter of the size.
        workers: Threads; None: one a CPU.
        seed: Of the order.
        records_per_shard: Records a file.
        overwrite: Replace former records at `out`.
        dry_run: Check and estimate, write nothing.
        progress: Told about every image.

    Raises:
        DataError: The data set is missing, empty or unusable, `out` is taken, or the disk too small.
        ConfigError: An argument is not allowed.
    """
    workers = workers if workers is not None else os.cpu_count() or 1
    _check_arguments(limit, image_size, encoding, workers, records_per_shard)
    check_output(out, KIND, overwrite, (data,))
    dataset = _read(data)
    by_id = {image.image_id: image for image in dataset.images}
    chosen = [by_id[image_id] for image_id in seeded_order(by_id, seed, "records")[:limit]]
    record = partial(make_record, folder=dataset.folder, image_size=image_size, encoding=encoding)
    tally = _Tally()
    with one_opencv_thread():
        estimate = _estimate_bytes(chosen, dataset.folder, image_size, encoding)
        plan = BuildResult(
            out=out,
            class_names=dataset.class_names,
            images=len(chosen),
            boxes=sum(len(image.class_ids) for image in chosen),
            skipped_images=0,
            shards=-(-len(chosen) // records_per_shard),
            size_bytes=estimate,
            free_bytes=free_bytes(out),
        )
        check_free_space(out, estimate, "use --encoding jpeg, --limit, or another disk with --out")
        if dry_run:
            return plan
        load_tensorflow()  # before the threads that use it
        with staged_folder(out) as folder, closing(map_in_order(record, chosen, workers)) as records:
            with progress("Building records", len(chosen), "images") as advance:
                shards = write_shards(
                    tally.usable(records, advance), folder, _prefix(dataset.class_names), records_per_shard
                )
            if tally.problems:
                _logger.warning("%d images were skipped; the first: %s", len(tally.problems), tally.problems[0])
            if not shards:
                raise DataError("no image can be used", tally.problems[0])
            manifest = RecordsManifest(
                class_names=dataset.class_names,
                image_size=image_size,
                encoding=encoding,
                seed=seed,
                count=sum(shard.count for shard in shards),
                boxes=tally.boxes,
                max_boxes=tally.max_boxes,
                shards=shards,
                version=__version__,
            )
            write_json(folder / MANIFEST, {"kind": KIND, **asdict(manifest)})
    return replace(
        plan,
        images=manifest.count,
        boxes=manifest.boxes,
        skipped_images=len(tally.problems),
        shards=len(shards),
        size_bytes=sum(shard.size for shard in shards),
    )


def parse_record(serialized: "tf.Tensor") -> "dict[str, tf.Tensor]":
    """Parse one serialized record inside a TensorFlow graph; the image stays encoded.

    Args:
        serialized: Scalar string.

    Returns:
        `image_bytes` scalar string (PNG or JPEG); `boxes` [N, 5] float32, class_id, x_min, y_min, x_max,
        y_max in letterboxed pixels; `crowd` [N] bool; `areas` [N] float32, segment areas in square pixels
        of the original image; `image_id`, `height`, `width` int64, of the original; `file_name` string.
    """
    import tensorflow as tf

    def many(dtype: "tf.DType") -> "tf.io.FixedLenSequenceFeature":
        return tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)

    def one(dtype: "tf.DType") -> "tf.io.FixedLenFeature":
        return tf.io.FixedLenFeature([], dtype)

    features = tf.io.parse_single_example(
        serialized,
        {
            "image": one(tf.string),
            "annot": many(tf.float32),
            "iscrowd": many(tf.int64),
            "area": many(tf.float32),
            "image_id": one(tf.int64),
            "height": one(tf.int64),
            "width": one(tf.int64),
            "file_name": one(tf.string),
        },
    )
    return {
        "image_bytes": features["image"],
        "boxes": tf.reshape(features["annot"], [-1, 5]),
        "crowd": tf.cast(features["iscrowd"], tf.bool),
        "areas": features["area"],
        "image_id": features["image_id"],
        "height": features["height"],
        "width": features["width"],
        "file_name": features["file_name"],
    }


class _Tally:
    """Counts what passes through."""

    def __init__(self) -> None:
        self.boxes = 0
        self.max_boxes = 0
        self.problems: list[str] = []

    def usable(self, records: Iterator[RecordBytes], advance: Advance) -> Iterator[bytes]:
        for record in records:
            advance()
            if record.problem:
                _logger.debug("skipped: %s", record.problem)
                self.problems.append(record.problem)
                continue
            boxes = len(record.image.class_ids)
            self.boxes += boxes
            self.max_boxes = max(self.max_boxes, boxes)
            yield record.serialized


def _check_arguments(limit: int | None, image_size: int, encoding: str, workers: int, records_per_shard: int) -> None:
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}", "it must be at least 1")
    if image_size < 32 or image_size % 32:
        near = max(32, round(image_size / 32) * 32)
        raise ConfigError(f"the image size is {image_size}", f"it must be a multiple of 32, such as {near}")
    if encoding not in get_args(Encoding):
        raise ConfigError(f"encoding is '{encoding}'", "it is one of " + ", ".join(get_args(Encoding)))
    if min(workers, records_per_shard) < 1:
        raise ConfigError("workers and records_per_shard must be at least 1")


def _read(data: Path) -> CocoDataset:
    annotations = data / "annotations.json"
    if not annotations.is_file():
        raise DataError(
            f"no data set at {data}: it has no annotations.json",
            "write one with `fcoslite extract`, or use --data",
        )
    dataset = read_coco(annotations, data / "images")
    if not any(len(image.class_ids) for image in dataset.images):
        raise DataError(f"{annotations} has no usable box", "there is nothing to learn from it")
    return dataset


def _estimate_bytes(chosen: list[LabelledImage], folder: Path, image_size: int, encoding: str) -> int:
    sizes = []
    for image in chosen[:_SAMPLES]:
        try:
            sizes.append(len(encode_image(image, folder, image_size, encoding)))
        except DataError as error:
            _logger.debug("%s", error.message)
    return round(sum(sizes) / len(sizes) * len(chosen)) if sizes else 0


def _prefix(class_names: tuple[str, ...]) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", class_names[0].lower()).strip("-")
    return words if words and len(class_names) == 1 else "records"
