"""Whether a serialized record can be trained on."""

import struct

import numpy as np

from fcoslite.data.manifest import RecordsManifest
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
    values = _parse(serialized)
    _check_boxes(values, manifest)
    try:
        values["file_name"][0].decode()
    except UnicodeDecodeError:
        raise DataError("its file name is not UTF-8") from None
    if min(values["height"][0], values["width"][0]) < 1:
        raise DataError("the sides of its original image are not positive")
    _check_image(values["image"][0], manifest)


def _parse(serialized: bytes) -> dict[str, list]:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except DecodeError:
        raise DataError("it is not a tf.train.Example") from None
    values = {}
    for name, (kind, single) in _SCHEMA.items():
        if name not in features:
            raise DataError(f"it has no '{name}': of an older schema, or not written by fcoslite")
        given = features[name].WhichOneof("kind")
        if given not in (kind, None):  # an empty list may have no kind
            raise DataError(f"its '{name}' is a {given}, not a {kind}")
        values[name] = list(getattr(features[name], kind).value)
        if single and len(values[name]) != 1:
            raise DataError(f"its '{name}' has {len(values[name])} values, not one")
    return values


def _check_boxes(values: dict[str, list], manifest: RecordsManifest) -> None:
    count, rest = divmod(len(values["annot"]), 5)
    if rest or any(len(values[name]) != count for name in ("len", "iscrowd", "area")) or set(values["len"]) - {5}:
        raise DataError("its boxes do not add up: annot, len, iscrowd and area are of different lengths")
    if count > manifest.max_boxes:
        raise DataError(f"it has {count} boxes, the manifest knows of {manifest.max_boxes} at most")
    boxes = np.array(values["annot"], np.float32).reshape(-1, 5)
    if not (np.isfinite(boxes).all() and np.isfinite(values["area"]).all()):
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
