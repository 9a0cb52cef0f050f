from pathlib import Path

import numpy as np

from fcoslite.config.settings import DetectSettings
from fcoslite.data.images import read_image
from fcoslite.inference.predictor import Predictor
from fcoslite.machine.threads import map_in_order
from fcoslite.runs.find_weights import packaged_weights

SETTINGS = DetectSettings(score=0.05, iou=0.5)


def test_two_images_at_a_time_give_what_each_gives_alone(demo_data: Path) -> None:
    predictor = Predictor.load(packaged_weights()["lite0"], SETTINGS)
    assert predictor.at_once == 2  # on a CPU
    pixels = [read_image(path) for path in sorted((demo_data / "images").glob("*.jpg"))[:6]]
    alone = [predictor.predict(image) for image in pixels]
    together = list(map_in_order(predictor.predict, pixels * 4, predictor.at_once, ahead=1))
    for found, expected in zip(together, alone * 4, strict=True):
        np.testing.assert_array_equal(found.boxes_xyxy, expected.boxes_xyxy)
        np.testing.assert_array_equal(found.scores, expected.scores)
