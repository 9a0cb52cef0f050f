"""From labelled images to TFRecord shards: one image to one serialized record, records to files."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from fcoslite.data.coco import LabelledImage, read_labelled
from fcoslite.errors import DataError
from fcoslite.letterbox import Letterbox

# Level 1 is 30 % faster than level 3 and its files are 3 % larger; decoding takes the same time.
PNG_PARAMETERS = (cv2.IMWRITE_PNG_COMPRESSION, 1)
JPEG_PARAMETERS = (cv2.IMWRITE_JPEG_QUALITY, 95)


@dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name in the folder, records, checksum, and size in bytes."""

    name: str
    count: int
    sha256: str
    size: int


@dataclass(frozen=True)
class RecordBytes:
    """A serialized record, or what is wrong with its image."""

    image: LabelledImage
    serialized: bytes = b""
    problem: str = ""


def encode_image(image: LabelledImage, folder: Path, image_size: int, encoding: str) -> bytes:
    """Letterbox an image and compress it.

    Args:
        image: Which; its boxes are not looked at.
        folder: Where its file is.
        image_size: Side of the letterboxed image, pixels.
        encoding: `png` or `jpeg`.

    Raises:
        DataError: The file is missing, no image, or not of the size in the annotations.
    """
    pixels = read_labelled(image, folder)
    letterboxed = Letterbox(image.height, image.width, image_size).apply_image(pixels)
    parameters = PNG_PARAMETERS if encoding == "png" else JPEG_PARAMETERS
    _, encoded = cv2.imencode(f".{encoding}", cv2.cvtColor(letterboxed, cv2.COLOR_RGB2BGR), parameters)
    return encoded.tobytes()


def make_record(image: LabelledImage, folder: Path, image_size: int, encoding: str) -> RecordBytes:
    """Turn one labelled image into a serialized `tf.train.Example`; `parse_record` is the inverse."""
    import tensorflow as tf

    def ints(*values: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def floats(values: Iterable[float]) -> tf.train.Feature:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def text(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    try:
        encoded = encode_image(image, folder, image_size, encoding)
    except DataError as error:
        return RecordBytes(image, problem=error.message)
    letterbox = Letterbox(image.height, image.width, image_size)
    boxes_xyxy = letterbox.apply_boxes(image.boxes_xyxy)
    annot: list[float] = []
    for class_id, box in zip(image.class_ids.tolist(), boxes_xyxy.tolist(), strict=True):
        annot += [class_id, *box]
    features = {
        "image": text(encoded),
        "annot": floats(annot),
        "len": ints(*[5] * len(boxes_xyxy)),
        "iscrowd": ints(*image.iscrowd.astype(int).tolist()),
        "area": floats(image.areas.tolist()),
        "image_id": ints(image.image_id),
        "file_name": text(image.file_name.encode()),
        "height": ints(image.height),
        "width": ints(image.width),
        "scale": floats([letterbox.scale]),
        "pad_left": ints(letterbox.pad_left),
        "pad_top": ints(letterbox.pad_top),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return RecordBytes(image, example.SerializeToString(deterministic=True))


def write_shards(records: Iterator[bytes], folder: Path, prefix: str, records_per_shard: int) -> tuple[Shard, ...]:
    """Write records in their order to `PREFIX-00000-of-00002.tfrecord`, ...

    Every shard but the last is full, however many images had to be skipped: the files get their names when
    their number is known.

    Raises:
        DataError: A file cannot be written.
    """
    import tensorflow as tf

    parts: list[tuple[Path, int]] = []
    record = next(records, None)
    while record is not None:
        path = folder / f"part-{len(parts):05d}"
        count = 0
        try:
            with tf.io.TFRecordWriter(str(path)) as writer:
                while record is not None and count < records_per_shard:
                    writer.write(record)
                    count += 1
                    record = next(records, None)
        except tf.errors.OpError as error:
            raise DataError(f"cannot write to {folder}: {error.message}", "is the disk full?") from None
        parts.append((path, count))
    shards = []
    for index, (path, count) in enumerate(parts):
        path = path.rename(folder / f"{prefix}-{index:05d}-of-{len(parts):05d}.tfrecord")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        shards.append(Shard(path.name, count, digest, path.stat().st_size))
    return tuple(shards)
