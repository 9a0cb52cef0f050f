"""What `eval` does after the forward pass, for one image: choose, NMS, map back. COCOeval's own time apart.

On outputs of the packaged detectors for the embedded photographs, at 512 pixels, with the thresholds of `eval`.

Run: python -m benchmarks.evaluation [--quick] [--out FOLDER]
"""

import argparse
from collections.abc import Iterator

import numpy as np

from benchmarks.photographs import DEMO_DATA
from benchmarks.table import Must, Row, race, run_stage
from benchmarks.weights import packaged_detector
from fcoslite.config.settings import DetectSettings
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import read_labelled
from fcoslite.detections.detections import Detections, to_detections
from fcoslite.detections.formats import to_results
from fcoslite.evaluation.coco_metrics import coco_metrics
from fcoslite.fcos.postprocess import postprocess
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.runtimes.keras import KerasRuntime

SIZE = 512


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Milliseconds per image."""
    dataset = read_coco(DEMO_DATA / "annotations.json", DEMO_DATA / "images", ["person"])
    labels = dataset.images[:8] if arguments.quick else dataset.images
    letterboxes = [Letterbox.square(label.height, label.width, SIZE) for label in labels]
    inputs = [
        box.apply_image(read_labelled(label, dataset.folder))[None]
        for label, box in zip(labels, letterboxes, strict=True)
    ]
    for name in ("lite0", "lite"):
        detector = packaged_detector(name, SIZE)
        forward = KerasRuntime(detector)
        outputs = [forward(image) for image in inputs]
        names, settings = detector.class_names, DetectSettings()

        def post_process() -> list[Detections]:
            found = []
            for one, letterbox in zip(outputs, letterboxes, strict=True):  # noqa: B023
                chosen = postprocess(one.boxes_xyxy[0], one.scores[0], settings)  # noqa: B023
                found.append(to_detections(*chosen, letterbox, names))  # noqa: B023
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
