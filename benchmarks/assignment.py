"""Assignment of boxes to locations, compiled as in training, against the plain loop; and how its cost grows.

Run: python -m benchmarks.assignment [--quick] [--out FOLDER]
"""

import argparse
from collections.abc import Iterator
from dataclasses import fields

import tensorflow as tf

from benchmarks.plain_loop import assign_image
from benchmarks.random_batches import SIZE, random_boxes
from benchmarks.table import Must, Row, race, run_stage
from fcoslite.fcos.locations import locations_of
from fcoslite.fcos.targets import assign
from fcoslite.models.presets import PRESETS


def ours(boxes: tf.Tensor) -> tf.Tensor:
    """All targets of a batch, added up so that none is left out."""
    architecture = PRESETS["lite"]
    locations = locations_of(SIZE, architecture.strides)
    outputs = {"class_logits": tf.zeros((boxes.shape[0], len(locations), 1))}  # tells the number of classes
    targets = assign(tf.pad(boxes, [[0, 0], [0, 0], [0, 1]]), outputs, architecture, locations)
    return tf.add_n([tf.reduce_sum(getattr(targets, part.name)) for part in fields(targets)])


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """The row that must hold, then the sweep."""
    batches = (1, 4, 16) if arguments.quick else (1, 4, 16, 64)
    counts = (1, 20, 200) if arguments.quick else (1, 5, 20, 50, 200)
    for batch in batches:
        for count in counts:
            boxes = random_boxes(batch, count)
            tensor = tf.constant(boxes)
            step = tf.function(ours)  # traced for this shape alone
            contestants = {"ours": lambda: step(tensor).numpy()}  # noqa: B023
            with_plain = batch * count <= (80 if arguments.quick else 800)
            if with_plain:
                contestants["plain"] = lambda: [assign_image(each, SIZE, 1) for each in boxes]  # noqa: B023
            result = race(contestants, 5 if arguments.quick else 11)
            head = (batch, count) == (4, 20)
            yield Row(
                stage="assignment",
                what=f"{batch} images of {count} boxes",
                unit="images/s",
                **result.rates("ours", batch, reference="plain" if with_plain else None),
                reference_is="plain loop",
                must=Must("ratio", "≥", 10) if head else None,
            )


if __name__ == "__main__":
    run_stage(measure, __doc__)
