import numpy as np

from fcoslite.data.dataset import LabelledImage
from fcoslite.detections.detections import Detections
from fcoslite.detections.formats import to_results
from fcoslite.evaluation.coco_metrics import coco_metrics


def image(image_id, boxes, crowd=None, classes=None) -> LabelledImage:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(boxes)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return LabelledImage(
        image_id, f"{image_id}.jpg", 200, 300, boxes,
        np.array(classes or [1] * count, np.int32), np.array(crowd or [False] * count, bool), areas,
    )  # fmt: skip


def found(boxes, scores, classes=None) -> Detections:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    ids = np.array(classes or [1] * len(boxes), np.int32)
    return Detections(boxes, np.array(scores, np.float32), ids, ("person", "dog"))


def score(images, detections, names=("person",)):
    return coco_metrics(images, to_results(images, detections, range(1, len(names) + 1)), names)[0]


def test_results_carry_the_files_category_ids():
    images = [image(7, [[10, 20, 30, 60]], classes=[2])]
    results = to_results(images, [found([[10, 20, 30, 60]], [0.5], classes=[2])], [1, 18])
    assert results == [{"image_id": 7, "category_id": 18, "bbox": [10, 20, 20, 40], "score": 0.5}]
