from pathlib import Path

import numpy as np

from fcoslite.config.settings import DetectSettings
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import read_image
from fcoslite.detections.detections import to_detections
from fcoslite.fcos.decode import detect
from fcoslite.fcos.locations import locations_of
from fcoslite.geometry.batch_images import normalise
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.predictor import Predictor
from fcoslite.models.weights import load_detector
from fcoslite.runs.find_weights import packaged_weights

SETTINGS = DetectSettings(score=0.05, iou=0.5)


def test_constant_weights_give_what_the_network_gives(demo_data: Path) -> None:
    weights = packaged_weights()["lite0"]
    detector, _ = load_detector(weights)
    predictor = Predictor.load(weights, SETTINGS)
    for image in read_coco(demo_data / "annotations.json", demo_data / "images", ("person",)).images[:3]:
        pixels = read_image(demo_data / "images" / image.file_name)
        letterbox = Letterbox(*pixels.shape[:2], detector.image_size)
        outputs = detector.network(normalise(letterbox.apply_image(pixels)[None]), training=False)
        result = detect(outputs, locations_of(detector.image_size, detector.architecture.strides), SETTINGS)
        detections, count = np.asarray(result["detections"])[0], np.asarray(result["count"])[0]
        expected = to_detections(detections, count, letterbox, detector.class_names)
        found = predictor.predict(pixels)
        assert len(found.scores) == len(expected.scores) > 0
        np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=0.05)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
