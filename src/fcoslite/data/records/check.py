"""Whether a serialized record can be trained on."""

import struct

import numpy as np

from fcoslite.data.records.build import parse_record
from fcoslite.data.records.manifest import RecordsManifest
from fcoslite.errors import DataError

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
