"""What `eval` does after the forward pass, for one image: decode, NMS, map back. COCOeval's own time apart.

On outputs of the packaged detectors for the embedded photographs, at 512 pixels, with the thresholds of `eval`.

Run: python -m benchmarks.evaluation [--quick] [--out FOLDER]
"""

import argparse
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from benchmarks.photographs import DEMO_DATA
from benchmarks.table import Must, Row, race, run_stage
from benchmarks.weights import packaged_detector
from fcoslite.config.settings import DetectSettings
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import read_labelled
from fcoslite.detections.detections import Detections, to_detections
from fcoslite.detections.formats import to_results
from fcoslite.evaluation.coco_metrics import coco_metrics
from fcoslite.fcos.decode import detect
from fcoslite.fcos.locations import locations_of
from fcoslite.geometry.batch_images import normalise
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.runtimes.keras import with_constant_weights

SIZE = 512


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Milliseconds per image."""
    dataset = read_coco(DEMO_DATA / "annotations.json", DEMO_DATA / "images", ["person"])
    labels = dataset.images[:8] if arguments.quick else dataset.images
    letterboxes = [Letterbox(label.height, label.width, SIZE) for label in labels]
    inputs = [
        normalise(box.apply_image(read_labelled(label, dataset.folder))[None]).numpy()
        for label, box in zip(labels, letterboxes, strict=True)
    ]
    for name in ("lite0", "lite"):
        detector = packaged_detector(name, SIZE)
        forward = with_constant_weights(detector.network, inputs[0])
        outputs = [forward(image) for image in inputs]
        locations = locations_of(SIZE, detector.architecture.strides)
        names, settings = detector.class_names, DetectSettings()
        decode = tf.function(lambda outputs: detect(outputs, locations, settings))  # noqa: B023

        def post_process() -> list[Detections]:
            found = []
            for one, letterbox in zip(outputs, letterboxes, strict=True):  # noqa: B023
                result = decode(one)  # noqa: B023
                rows, count = np.asarray(result["detections"]), np.asarray(result["count"])
                found.append(to_detections(rows[0], count[0], letterbox, names))  # noqa: B023
            return found

        found = post_process()
        result = race(
            {
                "forward": lambda: [forward(image) for image in inputs],  # noqa: B023
                "post-processing": post_process,
                "COCOeval": lambda: coco_metrics(labels, to_results(labels, found, [1]), names),  # noqa: B023
            },
            5 if arguments.quick else 11,
        )
        yield Row(
            stage="evaluation",
            what=f"`{name}` at {SIZE}, post-processing of {np.mean([len(one) for one in found]):.0f} boxes an image",
            unit="ms",
            **result.milliseconds("post-processing", len(inputs), reference="forward"),
            reference_is="forward pass",
            must=Must("ratio", "≤", 0.1),
        )
        yield Row(
            stage="evaluation",
            what=f"`{name}`, COCOeval of {len(inputs)} images, an image",
            unit="ms",
            **result.milliseconds("COCOeval", len(inputs), reference="forward"),
            reference_is="forward pass",
        )


if __name__ == "__main__":
    run_stage(measure, __doc__)
