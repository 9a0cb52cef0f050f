import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fcoslite.data.formats.coco import to_coco_json
from fcoslite.detections.formats import to_results
from fcoslite.evaluation.coco_metrics import ap75_per_image, coco_metrics
from tests.labelled_boxes import found, image


def score(images, detections, names=("person",)):
    return coco_metrics(images, to_results(images, detections, range(1, len(names) + 1)), names)[0]


def test_perfect_detections_score_one():
    images = [image(1, [[0, 0, 100, 100], [150, 0, 160, 40]]), image(2, [[20, 20, 60, 90]])]
    figures = score(images, [found(one.boxes_xyxy, [0.9] * len(one.boxes_xyxy)) for one in images])
    assert figures["ap"] == figures["ap50"] == figures["ap75"] == pytest.approx(1)
    assert figures["ap_small"] == pytest.approx(1)
    assert figures["ap_large"] == pytest.approx(1)


def test_nothing_found_scores_zero_and_no_truth_minus_one():
    figures = score([image(1, [[0, 0, 10, 10]])], [found([], [])])
    assert set(figures.values()) == {0.0}
    figures = score([image(1, [])], [found([], [])])
    assert set(figures.values()) == {-1.0}


def test_a_detection_in_a_crowd_is_neither_right_nor_wrong():
    crowd = image(1, [[0, 0, 50, 50], [100, 0, 300, 200]], crowd=[False, True])
    alone = score([crowd], [found([[0, 0, 50, 50]], [0.5])])
    inside = score([crowd], [found([[0, 0, 50, 50], [110, 10, 200, 100]], [0.5, 0.9])])
    outside = score([crowd], [found([[0, 0, 50, 50], [0, 100, 60, 190]], [0.5, 0.9])])
    assert alone["ap50"] == inside["ap50"] == pytest.approx(1)
    assert outside["ap50"] == pytest.approx(0.5, abs=0.01)


def test_our_figures_are_pycocotools_figures_of_the_files(tmp_path):
    rng = np.random.default_rng(0)
    images, detections = [], []
    for number in range(20):
        low = rng.uniform(0, 150, (rng.integers(0, 6), 2))
        boxes = np.concatenate([low, low + rng.uniform(5, 120, low.shape)], axis=1)
        images.append(image(number + 1, boxes, crowd=(rng.random(len(boxes)) < 0.2).tolist()))
        noisy = boxes + rng.normal(0, 4, boxes.shape)
        detections.append(found(noisy, rng.random(len(noisy))))
    (tmp_path / "truth.json").write_text(json.dumps(to_coco_json(images, ["person"])))
    (tmp_path / "detections.json").write_text(json.dumps(to_results(images, detections, [1])))
    truth = COCO(str(tmp_path / "truth.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "detections.json")), "bbox")
    evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    figures = score(images, detections)
    assert list(figures.values()) == pytest.approx(list(evaluation.stats))
    assert 0.05 < figures["ap"] < 0.95


def test_both_files_carry_the_files_category_ids():
    images = [image(7, [[10, 20, 30, 60]]), image(8, [[0, 0, 9, 90]], classes=[2])]
    truth = COCO()
    truth.dataset = to_coco_json(images, ["person", "dog"], [7, 18])
    truth.createIndex()
    perfect = [found(one.boxes_xyxy, [0.9], classes=one.class_ids.tolist()) for one in images]
    evaluation = COCOeval(truth, truth.loadRes(to_results(images, perfect, [7, 18])), "bbox")
    evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("boxes", "scores", "expected"),
    [
        ([[0, 0, 100, 100], [200, 0, 250, 100]], [0.9, 0.8], 1.0),  # both found
        ([[0, 0, 100, 100]], [0.9], 0.5),  # one of two: recall 1/2 at precision 1
        ([[0, 0, 100, 100], [0, 0, 100, 100]], [0.9, 0.8], 0.5),  # found twice: the second is wrong, and adds no recall
        # a wrong one first: points (0, 1), (0, 0), (1/2, 1/2): trapezoid 1/2 · (0 + 1/2) / 2
        ([[100, 100, 150, 190], [0, 0, 100, 100]], [0.9, 0.8], 0.125),
        ([[0, 0, 100, 70]], [0.9], 0.0),  # IoU 0.7
        ([], [], 0.0),
    ],
)
def test_the_missions_ap_by_hand(boxes, scores, expected):
    truth = image(1, [[0, 0, 100, 100], [200, 0, 250, 100]])
    assert ap75_per_image([truth], [found(boxes, scores)]) == pytest.approx(expected, abs=1e-6)


def test_the_missions_ap_is_a_mean_over_images_with_people():
    images = [
        image(1, [[0, 0, 100, 100]]),
        image(2, []),
        image(3, [[0, 0, 9, 9]], crowd=[True]),
        image(4, [[0, 0, 50, 50]]),
    ]
    detections = [found([[0, 0, 100, 100]], [0.9]), found([[0, 0, 5, 5]], [0.9]), found([], []), found([], [])]
    assert ap75_per_image(images, detections) == pytest.approx(0.5)
