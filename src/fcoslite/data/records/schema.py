"""A record: the features of its `tf.train.Example`, written, parsed and checked."""

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fcoslite.data.dataset import CocoDataset, LabelledImage
from fcoslite.data.images import read_labelled
from fcoslite.data.records.manifest import RecordsManifest
from fcoslite.errors import DataError
from fcoslite.geometry.letterbox import PAD_COLOUR, Letterbox

if TYPE_CHECKING:
    import tensorflow as tf

# Level 1 is 30 % faster than level 3 and its files are 3 % larger; decoding takes the same time.
PNG_PARAMETERS = (cv2.IMWRITE_PNG_COMPRESSION, 1)
JPEG_PARAMETERS = (cv2.IMWRITE_JPEG_QUALITY, 95)

# name: kind, and whether there is exactly one value
_SCHEMA = {
    "image": ("bytes_list", True),
    "annot": ("float_list", False),
    "len": ("int64_list", False),
    "iscrowd": ("int64_list", False),
    "area": ("float_list", False),
    "image_id": ("int64_list", True),
    "height": ("int64_list", True),
    "width": ("int64_list", True),
    "file_name": ("bytes_list", True),
}
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_ROUNDING = 1e-3  # of the image's side


def encode_image(image: LabelledImage, dataset: CocoDataset, image_size: int, encoding: str) -> bytes:
    """Letterbox an image and compress it.

    Args:
        image: Which; its boxes are not looked at.
        dataset: That it is of.
        image_size: Side of the letterboxed image, pixels.
        encoding: `png` or `jpeg`.

    Raises:
        UnusableImageError: The file is missing, no whole image, or not of the size in the annotations.
    """
    pixels = read_labelled(image, dataset.folder, dataset.follow_links)
    letterboxed = Letterbox(image.height, image.width, image_size).apply_image(pixels)
    parameters = PNG_PARAMETERS if encoding == "png" else JPEG_PARAMETERS
    _, encoded = cv2.imencode(f".{encoding}", cv2.cvtColor(letterboxed, cv2.COLOR_RGB2BGR), parameters)
    return encoded.tobytes()


def blank_record(image_size: int) -> bytes:
    """The record of a grey square without boxes; its image id is -1. It stands in for one that cannot be read."""
    nothing = np.zeros(0, np.float32)
    image = LabelledImage(
        -1, "", image_size, image_size, nothing.reshape(0, 4), nothing.astype(np.int32), nothing.astype(bool), nothing
    )
    pixels = np.full((image_size, image_size, 3), PAD_COLOUR, np.uint8)
    return serialize(image, cv2.imencode(".png", pixels, PNG_PARAMETERS)[1].tobytes(), image_size)


def serialize(image: LabelledImage, encoded: bytes, image_size: int) -> bytes:
    """The record of an image that is letterboxed and compressed; `parse_record` is the inverse."""
    import tensorflow as tf

    def ints(*values: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def floats(values: Iterable[float]) -> tf.train.Feature:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def text(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

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
    return example.SerializeToString(deterministic=True)


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


def check_record(serialized: bytes, manifest: RecordsManifest) -> None:
    """Parse a record, decode its image, and compare both with what the manifest promises.

    Raises:
        DataError: Something does not fit; the message goes on after "record N:".
    """
    import tensorflow as tf

    _check_schema(serialized)
    try:
        # as training does: TensorFlow has a parser of its own, which refuses some of what protobuf lets pass
        record = {name: value.numpy() for name, value in parse_record(serialized).items()}
    except (tf.errors.OpError, UnicodeDecodeError):  # its message quotes the record, which may be no UTF-8
        raise DataError("TensorFlow cannot parse it") from None
    _check_boxes(record["boxes"], record["areas"], manifest)
    try:
        record["file_name"].decode()
    except UnicodeDecodeError:
        raise DataError("its file name is not UTF-8") from None
    if min(record["height"], record["width"]) < 1:
        raise DataError("the sides of its original image are not positive")
    _check_image(record["image_bytes"], manifest)


def _check_schema(serialized: bytes) -> None:
    """Whether every feature is there, of its type, and has as many values as the others."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except DecodeError:
        raise DataError("it is not a tf.train.Example") from None
    counts = {}
    for name, (kind, single) in _SCHEMA.items():
        if name not in features:
            raise DataError(f"it has no '{name}': of an older schema, or not written by fcoslite")
        given = features[name].WhichOneof("kind")
        if given not in (kind, None):  # an empty list may have no kind
            raise DataError(f"its '{name}' is a {given}, not a {kind}")
        counts[name] = len(getattr(features[name], kind).value)
        if single and counts[name] != 1:
            raise DataError(f"its '{name}' has {counts[name]} values, not one")
    boxes = counts["len"]
    lengths = set(features["len"].int64_list.value)
    if counts["annot"] != 5 * boxes or counts["iscrowd"] != boxes or counts["area"] != boxes or lengths - {5}:
        raise DataError("its boxes do not add up: annot, len, iscrowd and area are of different lengths")


def _check_boxes(boxes: np.ndarray, areas: np.ndarray, manifest: RecordsManifest) -> None:
    """Boxes [N, 5], as `parse_record` gives them."""
    if len(boxes) > manifest.max_boxes:
        raise DataError(f"it has {len(boxes)} boxes, the manifest knows of {manifest.max_boxes} at most")
    if not (np.isfinite(boxes).all() and np.isfinite(areas).all()):
        raise DataError("a number of its boxes is not finite")
    if not np.isin(boxes[:, 0], np.arange(1, len(manifest.class_names) + 1)).all():
        raise DataError("a class id of its boxes is not in the manifest")
    tolerance = _ROUNDING * manifest.image_size
    inside = (boxes[:, 1:] > -tolerance).all() and (boxes[:, 1:] < manifest.image_size + tolerance).all()
    if not inside or (boxes[:, 1:3] > boxes[:, 3:]).any():
        raise DataError("a box does not lie inside the image")


def _check_image(encoded: bytes, manifest: RecordsManifest) -> None:
    import tensorflow as tf

    side = manifest.image_size
    try:
        # by its header first: a few bytes can claim gigabytes of pixels
        if manifest.encoding == "png":
            width, height = struct.unpack(">II", encoded[16:24]) if encoded.startswith(_PNG) else (0, 0)
        else:
            height, width = tf.image.extract_jpeg_shape(encoded).numpy()[:2] if encoded.startswith(_JPEG) else (0, 0)
        if (height, width) == (side, side):
            tf.io.decode_image(encoded, channels=3, expand_animations=False)
    except (tf.errors.OpError, struct.error):
        raise DataError("its image cannot be decoded") from None
    if (height, width) != (side, side):
        raise DataError(f"its image is no {manifest.encoding} of {side}x{side} pixels")
