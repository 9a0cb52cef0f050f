"""A detector laid out as TensorFlow's SSDs are in LiteRT files, which suppress duplicates themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fcoslite.export.join_litert import join_litert
from fcoslite.export.joined_scores import joined
from fcoslite.export.litert import convert_litert, network_graph, with_files
from fcoslite.export.litert_metadata import KEY, LABELS_FILE, ssd_metadata
from fcoslite.export.program_configuration import labels_text
from fcoslite.fcos.box_voting import AGREE_IOU, SPREAD
from fcoslite.fcos.decode import decode
from fcoslite.fcos.locations import locations_of
from fcoslite.models.detector import Detector
from fcoslite.models.facts import ExportFacts

_MOST_CANDIDATES = 1000  # boxes and classes that reach NMS, the best ones
_TINY = 1e-12  # a divisor that is less is 0: of boxes without an area, and where nothing was found
# names and order of the operator that the SSDs of TensorFlow 1 end with, by which and in which programs read them
_OUTPUTS = {
    "boxes": "TFLite_Detection_PostProcess",
    "classes": "TFLite_Detection_PostProcess:1",
    "scores": "TFLite_Detection_PostProcess:2",
    "count": "TFLite_Detection_PostProcess:3",
}


def to_ssd(detector: Detector, facts: ExportFacts, images: Sequence[np.ndarray]) -> bytes:
    """Make a LiteRT file: `images` [1, S, S, 3] uint8 in, four outputs float32 out, in this order.

    Boxes [1, K, 4]: y_min, x_min, y_max, x_max in 0 to 1 of the square; classes [1, K], from 0 on; scores [1, K], see
    `joined`, best first; count [1]: the rows that hold a box, the others are 0. K is the most boxes of `evaluate`,
    scores are at least its, and duplicates are dropped by the IoU of `webcam`, after they have voted.

    Decoding and NMS stay in float whatever the precision: LiteRT has but one scale for all numbers of a tensor.

    Args:
        detector: Its weights are those of now.
        facts: Of the result.
        images: For int8: letterboxed, [1, S, S, 3] uint8.

    Raises:
        ConfigError: Keras runs on JAX, from which it cannot convert.
    """
    network = convert_litert(network_graph(detector), detector.image_size, facts, images)
    metadata = {KEY: ssd_metadata(facts)}
    file = join_litert(network, _suppression(detector, facts), tuple(_shapes(detector)), _OUTPUTS, metadata)
    return with_files(file, facts, {LABELS_FILE: labels_text(facts.classes)})


def _shapes(detector: Detector) -> dict[str, tuple[int, ...]]:
    """Of what the network gives for an image."""
    count = len(locations_of(detector.image_size, detector.architecture.strides))
    last = {"class_logits": len(detector.class_names), "distances": 4, "quality_logits": 1}
    return {output: (1, count, last[output]) for output in detector.network.output}


def _suppression(detector: Detector, facts: ExportFacts) -> bytes:
    """From the network's outputs to the four of the file, as a LiteRT model of its own."""
    import tensorflow as tf

    size = detector.image_size
    locations = locations_of(size, detector.architecture.strides)
    classes = len(detector.class_names)
    most = facts.evaluate.max_detections

    def suppress(**outputs: Any) -> dict[str, Any]:
        decoded = decode(outputs, locations.points, locations.strides[:, None])
        scores = tf.reshape(decoded["scores"], [-1])  # (N * C,)
        values, places = tf.math.top_k(scores, min(_MOST_CANDIDATES, len(locations) * classes))
        numbers = places % classes
        boxes = tf.gather(decoded["boxes"][0], places // classes)  # (T, 4)
        apart = boxes
        if classes > 1:  # those of different classes are laid apart, and suppress each other in no case
            near = tf.clip_by_value(boxes, -4 * size, 5 * size)
            apart = near + tf.cast(numbers, tf.float32)[:, None] * (10.0 * size)
        kept, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=apart,  # corners in any order, so x and y may change places in all of them
            scores=values,
            max_output_size=most,
            iou_threshold=facts.webcam.iou,
            score_threshold=facts.evaluate.score,
            pad_to_max_output_size=True,
        )
        found = tf.range(most) < count  # (K,)
        rows = _voted(boxes, apart, values, kept, found, facts.webcam.iou)
        is_found = tf.cast(found, tf.float32)
        corners = tf.stack([rows[:, side] for side in (1, 0, 3, 2)], axis=1)
        return {
            "boxes": (tf.clip_by_value(corners / size, 0.0, 1.0) * is_found[:, None])[None],
            "classes": (tf.cast(tf.gather(numbers, kept), tf.float32) * is_found)[None],
            "scores": (joined(tf.gather(values, kept), detector) * is_found)[None],
            "count": tf.cast(count, tf.float32)[None],
        }

    ports = {name: tf.TensorSpec(shape, tf.float32, name) for name, shape in _shapes(detector).items()}
    module = tf.Module()
    module.suppress = tf.function(suppress, autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.suppress.get_concrete_function(**ports)], module
    )
    content: bytes = converter.convert()
    return content


def _voted(boxes: Any, apart: Any, scores: Any, kept: Any, found: Any, iou: float) -> Any:
    """`fcos.box_voting.vote`, of arrays whose lengths are fixed.

    Args:
        boxes: [T, 4], pixels.
        apart: The same, where those of other classes do not overlap.
        scores: [T].
        kept: [K] rows that stay.
        found: [K] whether there is such a row.
        iou: By which others were suppressed.
    """
    import tensorflow as tf

    best = tf.gather(apart, kept)
    low, high = tf.maximum(best[:, None, :2], apart[None, :, :2]), tf.minimum(best[:, None, 2:], apart[None, :, 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), axis=-1)  # (K, T)
    area = tf.reduce_prod(apart[:, 2:] - apart[:, :2], axis=-1)
    union = tf.gather(area, kept)[:, None] + area[None] - shared
    overlap = shared / tf.maximum(union, _TINY)
    beaten = tf.cast(tf.logical_and(overlap > iou, found[:, None]), tf.float32)
    first = tf.one_hot(tf.argmax(beaten, axis=0), kept.shape[0], axis=0) * beaten  # of several, the best has beaten it
    itself = tf.one_hot(kept, boxes.shape[0])
    voters = tf.maximum(first * tf.cast(overlap > AGREE_IOU, tf.float32), itself)
    weights = voters * scores * tf.exp(-((1.0 - tf.maximum(overlap, itself)) ** 2) / SPREAD)
    return tf.matmul(weights, boxes) / tf.maximum(tf.reduce_sum(weights, axis=1, keepdims=True), _TINY)
