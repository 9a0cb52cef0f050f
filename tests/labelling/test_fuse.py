import sys

import numpy as np
import pytest

from fcoslite.detections.detections import Detections
from fcoslite.errors import FcosliteError
from fcoslite.labelling.fuse import choose, fuse, load_fusion, mirrored, repeats
from tests.labelled_boxes import found


def test_views_of_one_person() -> None:
    fused = fuse([found([[10, 20, 30, 60]], [0.8]), found([[12, 20, 30, 60]], [0.4])], 100, 200)
    # weighted by score, and the mean score
    np.testing.assert_allclose(fused.boxes_xyxy, [[(10 * 0.8 + 12 * 0.4) / 1.2, 20, 30, 60]], rtol=1e-5)
    np.testing.assert_allclose(fused.scores, [0.6], rtol=1e-6)
    assert fused.class_ids.tolist() == [1]


def test_what_a_view_does_not_see_counts_zero() -> None:
    fused = fuse([found([[10, 20, 30, 60]], [0.8]), found([], []), found([], []), found([], [])], 100, 200)
    np.testing.assert_allclose(fused.scores, [0.2], rtol=1e-6)


def test_classes_are_told_by_name() -> None:
    other = Detections(
        np.array([[10, 20, 30, 60]], np.float32),
        np.array([0.6], np.float32),
        np.array([1], np.int32),
        ("dog", "person"),
    )
    fused = fuse([found([[10, 20, 30, 60]], [0.8], [2]), other], 100, 200)
    assert fused.class_ids.tolist() == [2] and fused.class_names == ("person", "dog")
    np.testing.assert_allclose(fused.scores, [0.7], rtol=1e-6)
    both = fuse([found([[10, 20, 30, 60]], [0.8], [1]), other], 100, 200)
    assert sorted(both.class_ids.tolist()) == [1, 2]


def test_nothing_and_slivers() -> None:
    assert len(fuse([found([], []), found([], [])], 100, 200)) == 0
    assert len(fuse([found([[10, 20, 10, 60]], [0.9]), found([[300, 20, 400, 60]], [0.9])], 100, 200)) == 0
    one = found([[10, 20, 30, 60]], [0.8])
    assert fuse([one], 100, 200) is one


def test_the_mirror_image() -> None:
    turned = mirrored(found([[10, 20, 30, 60]], [0.8]), 200)
    assert turned.boxes_xyxy.tolist() == [[170, 20, 190, 60]]
    assert mirrored(turned, 200).boxes_xyxy.tolist() == [[10, 20, 30, 60]]


BIG = [0, 0, 40, 100]


@pytest.mark.parametrize(
    ("box", "score", "class_id", "kept"),
    [
        ([0, 0, 40, 50], 0.39, 1, False),  # a half
        ([0, 0, 40, 50], 0.4, 1, True),  # a sure one
        ([0, 0, 40, 50], 0.39, 2, True),  # of another class
        ([0, 20, 40, 120], 0.39, 1, False),  # IoU 2/3
        ([0, 60, 40, 160], 0.39, 1, True),  # IoU 1/4
        ([20, 0, 60, 100], 0.39, 1, True),  # half inside
        ([100, 0, 140, 100], 0.07, 1, False),  # too little
        ([100, 0, 140, 100], 0.08, 1, True),
    ],
)
def test_unsure_boxes_beside_a_surer_one(box: list[int], score: float, class_id: int, kept: bool) -> None:
    chosen = choose(found([box, BIG], [score, 0.9], [class_id, 1]), 0.08)
    assert chosen.boxes_xyxy.tolist() == [BIG, box][: 1 + kept]


def test_a_box_that_is_dropped_drops_no_other() -> None:
    middle, low = [0, 40, 40, 100], [0, 95, 40, 115]  # `low` lies in neither of the others by 70 %
    chosen = choose(found([BIG, middle, low], [0.9, 0.3, 0.2]), 0.08)
    assert chosen.boxes_xyxy.tolist() == [BIG, low]


def test_repeats() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    assert repeats(boxes, np.array([[0, 0, 100, 20]], np.float32)).tolist() == [True, False]
    assert repeats(boxes, np.zeros((0, 4), np.float32)).tolist() == [False, False]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensemble_boxes", None)
    with pytest.raises(FcosliteError, match="ensemble-boxes") as raised:
        load_fusion()
    assert "fcoslite[label]" in raised.value.hint and "--no-mirror" in raised.value.hint
