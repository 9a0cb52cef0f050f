import numpy as np
import pytest

from fcoslite.data.dataset import LabelledImage
from fcoslite.detections.detections import Detections
from fcoslite.evaluation.detection_errors import error_figures, judge_evaluation
from fcoslite.evaluation.evaluation import Evaluation

HERE, THERE = [10.0, 10.0, 30.0, 50.0], [60.0, 10.0, 80.0, 50.0]


def test_images_are_counted_once_however_many_classes_there_are() -> None:
    """One image with a person found and a dog missed; one without either, where a dog is seen."""
    images = [
        LabelledImage(
            number,
            f"{number}.jpg",
            100,
            100,
            np.float32(boxes).reshape(-1, 4),
            np.int32(class_ids),
            np.zeros(len(boxes), bool),
            np.full(len(boxes), 800, np.float32),
            np.ones(len(boxes), np.float32),
        )
        for number, boxes, class_ids in ((1, [HERE, THERE], [1, 2]), (2, [], []))
    ]
    names = ("person", "dog", "cat")
    found = [
        Detections(np.float32([box]), np.float32([0.9]), np.int32([class_id]), names)
        for box, class_id in ((HERE, 1), (THERE, 2))
    ]
    figures = error_figures(judge_evaluation(Evaluation({}, np.zeros((10, 101)), images, found), 3, 0.5))
    assert (figures["images"], figures["persons"], figures["precision"], figures["recall"]) == (2, 2, 0.5, 0.5)
    assert figures["false_positives_per_image"] == pytest.approx(0.5)
    assert figures["images_without_persons"] == {"images": 1, "with_a_detection": 1, "share": 1.0}
