"""A record: the features of its `tf.train.Example`, written, parsed and checked."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from fcoslite.data.dataset import Dataset, LabelledImage
from fcoslite.data.images import encode_picture, read_labelled
from fcoslite.data.records.manifest import RecordsManifest
from fcoslite.errors import DataError
from fcoslite.geometry.letterbox import PAD_COLOUR, Letterbox
from fcoslite.text import as_utf8

if TYPE_CHECKING:
    import tensorflow as tf

# Level 1 is 30 % faster than level 3 and its files are 3 % larger; decoding takes the same time.
PNG_COMPRESSION = 1
JPEG_QUALITY = 95


class _Written(NamedTuple):
    """What a record is made of."""

    image: LabelledImage
    encoded: bytes
    letterbox: Letterbox


@dataclass(frozen=True)
class Feature:
    """One feature of a record: how it is written, parsed and checked.

    Attributes:
        name: In the record.
        kind: The list of `tf.train.Feature` that holds its values.
        values: What is written.
        parsed_as: Its name in what `parse_record` returns; empty where it is not parsed.
        per_box: Values of every box; None where a record has exactly one value.
        flag: Whether it is 0 or 1, and parsed as False or True.
        checked: Whether a record without it is refused.
        optional: Whether it is left out where every box was drawn by a person.
    """

    name: str
    kind: Literal["bytes_list", "float_list", "int64_list"]
    values: Callable[[_Written], Iterable[Any]]
    parsed_as: str = ""
    per_box: int | None = None
    flag: bool = False
    checked: bool = True
    optional: bool = False


# The format of records: all that writes, parses and checks them follows this table.
FEATURES = (
    Feature("image", "bytes_list", lambda of: [of.encoded], "image_bytes"),
    Feature("annot", "float_list", lambda of: _rows(of).ravel(), "boxes", per_box=5),
    Feature("len", "int64_list", lambda of: [5] * len(of.image.class_ids), per_box=1),  # for tf.RaggedTensor
    Feature("iscrowd", "int64_list", lambda of: of.image.iscrowd.astype(int), "crowd", per_box=1, flag=True),
    Feature("area", "float_list", lambda of: of.image.areas, "areas", per_box=1),
    Feature("score", "float_list", lambda of: of.image.scores, "scores", per_box=1, optional=True),
    Feature("image_id", "int64_list", lambda of: [of.image.image_id], "image_id"),
    Feature("height", "int64_list", lambda of: [of.image.height], "height"),
    Feature("width", "int64_list", lambda of: [of.image.width], "width"),
    Feature("file_name", "bytes_list", lambda of: [as_utf8(of.image.file_name).encode()], "file_name"),
    # for other readers; they follow from height and width
    Feature("scale", "float_list", lambda of: [of.letterbox.scale], checked=False),
    Feature("pad_left", "int64_list", lambda of: [of.letterbox.pad_left], checked=False),
    Feature("pad_top", "int64_list", lambda of: [of.letterbox.pad_top], checked=False),
)
_DTYPES = {"bytes_list": "string", "float_list": "float32", "int64_list": "int64"}  # of TensorFlow
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_ROUNDING = 1e-3  # of the image's side


def encode_image(image: LabelledImage, dataset: Dataset, image_size: int, encoding: str) -> bytes:
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
    letterboxed = Letterbox.square(image.height, image.width, image_size).apply_image(pixels)
    return encode_picture(letterboxed, f".{encoding}", JPEG_QUALITY, PNG_COMPRESSION)


def blank_record(image_size: int) -> bytes:
    """The record of a grey square without boxes; its image id is -1. It stands in for one that cannot be read."""
    nothing = np.zeros(0, np.float32)
    image = LabelledImage(
        image_id=-1,
        file_name="",
        height=image_size,
        width=image_size,
        boxes_xyxy=nothing.reshape(0, 4),
        class_ids=nothing.astype(np.int32),
        iscrowd=nothing.astype(bool),
        areas=nothing,
        scores=nothing,
    )
    pixels = np.full((image_size, image_size, 3), PAD_COLOUR, np.uint8)
    return serialize(image, encode_picture(pixels, ".png", png_compression=PNG_COMPRESSION), image_size)


def serialize(image: LabelledImage, encoded: bytes, image_size: int) -> bytes:
    """The record of an image that is letterboxed and compressed; `parse_record` is the inverse."""
    import tensorflow as tf

    written = _Written(image, encoded, Letterbox.square(image.height, image.width, image_size))
    scored = bool((image.scores < 1).any())
    features = {
        one.name: tf.train.Feature(**{one.kind: {"value": list(one.values(written))}})
        for one in FEATURES
        if scored or not one.optional
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def labelled_image(serialized: bytes, image_size: int) -> LabelledImage:
    """What a record says of its image, boxes in pixels of the original; for records that were checked.

    Args:
        serialized: The record.
        image_size: Of the letterboxed image, pixels.

    Raises:
        ValueError: It is none, or not whole.
    """
    features = _features(serialized)
    height, width = (features[name].int64_list.value[0] for name in ("height", "width"))
    rows = np.array(features["annot"].float_list.value, np.float32).reshape(-1, 5)
    areas = np.array(features["area"].float_list.value, np.float32)
    scores = np.array(features["score"].float_list.value, np.float32) if "score" in features else np.ones_like(areas)
    return LabelledImage(
        image_id=features["image_id"].int64_list.value[0],
        file_name=features["file_name"].bytes_list.value[0].decode(),
        height=height,
        width=width,
        boxes_xyxy=Letterbox.square(height, width, image_size).invert_boxes(rows[:, 1:]),
        class_ids=rows[:, 0].astype(np.int32),
        iscrowd=np.array(features["iscrowd"].int64_list.value, bool),
        areas=areas,
        scores=scores,
    )


def picture_of(serialized: bytes) -> bytes:
    """The letterboxed image of a record, PNG or JPEG.

    Raises:
        ValueError: It is none, or not whole.
    """
    encoded: bytes = _features(serialized)["image"].bytes_list.value[0]
    return encoded


def _features(serialized: bytes) -> Any:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        return tf.train.Example.FromString(serialized).features.feature
    except DecodeError as error:
        raise ValueError(str(error)) from None


def _rows(written: _Written) -> np.ndarray:
    """Boxes [N, 5]: class id, x_min, y_min, x_max, y_max in letterboxed pixels."""
    image = written.image
    return np.column_stack([image.class_ids, written.letterbox.apply_boxes(image.boxes_xyxy)])


def parse_record(serialized: "tf.Tensor") -> "dict[str, tf.Tensor]":
    """Parse one serialized record inside a TensorFlow graph; the image stays encoded.

    Args:
        serialized: Scalar string.

    Returns:
        `image_bytes` scalar string (PNG or JPEG); `boxes` [N, 5] float32, class_id, x_min, y_min, x_max,
        y_max in letterboxed pixels; `crowd` [N] bool; `areas` [N] float32, segment areas in square pixels
        of the original image; `scores` [N] float32, 1 where the record has none; `image_id`, `height`,
        `width` int64, of the original; `file_name` string.
    """
    import tensorflow as tf

    def shape_of(feature: Feature) -> "tf.io.FixedLenFeature | tf.io.FixedLenSequenceFeature":
        dtype = tf.as_dtype(_DTYPES[feature.kind])
        if feature.per_box is None:
            return tf.io.FixedLenFeature([], dtype)
        shape = [] if feature.per_box == 1 else [feature.per_box]
        return tf.io.FixedLenSequenceFeature(shape, dtype, allow_missing=True)

    parsed = [feature for feature in FEATURES if feature.parsed_as]
    values = tf.io.parse_single_example(serialized, {feature.name: shape_of(feature) for feature in parsed})
    record = {
        feature.parsed_as: tf.cast(values[feature.name], tf.bool) if feature.flag else values[feature.name]
        for feature in parsed
    }
    without = tf.size(record["scores"]) == 0
    record["scores"] = tf.cond(without, lambda: tf.ones_like(record["areas"]), lambda: record["scores"])
    return record


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
    if not ((record["scores"] > 0) & (record["scores"] <= 1)).all():
        raise DataError("a score of its boxes is not above 0 and at most 1")
    try:
        record["file_name"].decode()
    except UnicodeDecodeError:
        raise DataError("its file name is not UTF-8") from None
    if min(record["height"], record["width"]) < 1:
        raise DataError("the sides of its original image are not positive")
    _check_image(record["image_bytes"], manifest)


def _check_schema(serialized: bytes) -> None:
    """Whether every feature is there, of its type, and has as many values as the others."""
    try:
        features = _features(serialized)
    except ValueError:
        raise DataError("it is not a tf.train.Example") from None
    needed = [feature for feature in FEATURES if feature.name in features or not feature.optional]
    checked = [feature for feature in needed if feature.checked]
    counts = {}
    for feature in checked:
        name, kind = feature.name, feature.kind
        if name not in features:
            raise DataError(f"it has no '{name}': of an older schema, or not written by fcoslite")
        given = features[name].WhichOneof("kind")
        if given not in (kind, None):  # an empty list may have no kind
            raise DataError(f"its '{name}' is a {given}, not a {kind}")
        counts[name] = len(getattr(features[name], kind).value)
        if feature.per_box is None and counts[name] != 1:
            raise DataError(f"its '{name}' has {counts[name]} values, not one")
    of_boxes = {feature.name: feature.per_box for feature in checked if feature.per_box is not None}
    boxes, lengths = counts["len"], set(features["len"].int64_list.value)
    if any(counts[name] != each * boxes for name, each in of_boxes.items()) or lengths - {5}:
        *names, last = of_boxes
        raise DataError(f"its boxes do not add up: {', '.join(names)} and {last} are of different lengths")


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
