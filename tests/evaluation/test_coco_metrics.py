import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fcoslite.data.formats.coco import to_coco_json
from fcoslite.detections.formats import to_results
from fcoslite.evaluation.coco_metrics import COCO_FIGURES, ap75_per_image, coco_metrics
from tests.labelled_boxes import found, image


def score(images, detections, names=("person",)):
    return coco_metrics(images, to_results(images, detections, range(1, len(names) + 1)), names)[0]


def test_perfect_detections_score_one():
    images = [image(1, [[0, 0, 100, 100], [150, 0, 160, 40]]), image(2, [[20, 20, 60, 90]])]
    figures = score(images, [found(one.boxes_xyxy, [0.9] * len(one.boxes_xyxy)) for one in images])
    assert figures["ap"] == figures["ap50"] == figures["ap75"] == pytest.approx(1)
    assert figures["ap_small"] == pytest.approx(1)
    assert figures["ap_large"] == pytest.approx(1)


def of_size(side, crowd=False, classes=None):
    return {"boxes": [[0, 0, side, side]], "crowd": [crowd], "classes": classes}


def pycocotools_figures(images, detections, names=("person", "dog")):
    truth = COCO()
    truth.dataset = to_coco_json(images, names)
    truth.createIndex()
    results = to_results(images, detections, range(1, len(names) + 1))
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    return dict(zip(COCO_FIGURES, evaluation.stats.tolist(), strict=True)), evaluation.eval["precision"]


SIZES = {"small": 20, "medium": 50, "large": 150}


@given(
    st.lists(
        st.builds(of_size, st.sampled_from([*SIZES.values(), 32, 96]), st.booleans(), st.sampled_from([[1], [2]])),
        max_size=4,
    )
)
def test_nothing_found_scores_what_pycocotools_gives_for_what_cannot_match(labels):
    # pycocotools takes no empty results: a wrong box on one more image, which no figure sees where it scores less
    images = [image(number + 1, **label) for number, label in enumerate(labels)] + [image(99, [])]
    nothing = [found([], []) for _ in images]
    wrong = [*nothing[:-1], found([[0, 0, 5, 5]], [0.01])]
    expected, precision = pycocotools_figures(images, wrong)
    figures, curves = coco_metrics(images, [], ("person", "dog"))
    assert figures == expected
    known = precision[0, 0, :, 0, -1] > -1
    assert (curves == (precision[:, :, known, 0, -1].mean(axis=-1) if known.any() else -1)).all()
    for size in SIZES:
        low, high = {"small": (0, 32), "medium": (32, 96), "large": (96, 999)}[size]
        there = any(not label["crowd"][0] and low <= label["boxes"][0][2] <= high for label in labels)
        assert figures[f"ap_{size}"] == figures[f"ar_{size}"] == (0 if there else -1)


@pytest.mark.parametrize("size", SIZES)
def test_a_size_that_is_not_there_has_no_figure_whatever_is_found(size):
    images = [image(1, **of_size(SIZES[size]))]
    for detections in ([found([], [])], [found([[0, 0, SIZES[size], SIZES[size]]], [0.9])]):
        figures = score(images, detections)
        assert {name for name, value in figures.items() if value == -1} == {
            f"{kind}_{other}" for kind in ("ap", "ar") for other in SIZES if other != size
        }
        assert all(value == pytest.approx(len(detections[0])) for value in figures.values() if value != -1)


def test_no_truth_has_no_figure_of_any_kind():
    for nothing in (image(1, []), image(1, **of_size(50, crowd=True))):
        for detections in ([found([], [])], [found([[100, 100, 180, 190]], [0.9])]):
            assert set(score([nothing], detections).values()) == {-1.0}
            assert ap75_per_image([nothing], detections) == -1


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
