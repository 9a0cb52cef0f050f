"""Which answer is for which box."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.review.answers import BoxAnswer, PlaceAnswer
from fcoslite.review.verdicts import SAME_BOX, at_place, match

Box = tuple[float, float, float, float]

sides = st.integers(1, 40).map(float)
starts = st.integers(0, 60).map(float)
boxes = st.tuples(starts, starts, sides, sides)


def told(*bboxes: Box, word: str = "no") -> list[BoxAnswer]:
    return [BoxAnswer(word, "a.jpg", "person", box) for box in bboxes]  # type: ignore[arg-type]


def matched(labels: list[Box], answers: list[BoxAnswer]) -> tuple[list[BoxAnswer | None], list[BoxAnswer]]:
    return match(np.array(labels, np.float64).reshape(-1, 4), ["person"] * len(labels), answers)


def iou(a: Box, b: Box) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def test_the_very_box_comes_before_one_that_overlaps() -> None:
    left, right = (0.0, 0.0, 40.0, 100.0), (8.0, 0.0, 40.0, 100.0)  # IoU 0.67: two persons, one behind the other
    [answer] = told(right)
    assert matched([left, right], [answer]) == ([None, answer], [])
    assert matched([left], [answer]) == ([answer], [])  # labelled anew, the person has one box, a little beside
    assert matched([(30.0, 0.0, 40.0, 100.0)], [answer]) == ([None], [answer])


def test_a_category_of_its_own() -> None:
    answer = BoxAnswer("no", "a.jpg", "dog", (0, 0, 10, 10))
    assert matched([(0, 0, 10, 10)], [answer]) == ([None], [answer])


def test_the_last_answer_about_a_box_counts() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    first, last = told(box) + told(box, word="yes")
    assert matched([box], [first, last]) == ([last], [])
    assert matched([box], [last, first]) == ([first], [])


@given(st.lists(boxes, max_size=6), st.lists(boxes, max_size=6))
def test_one_answer_a_box_and_one_box_an_answer(labels: list[Box], answered: list[Box]) -> None:
    answers = told(*answered)
    found, rest = matched(labels, answers)
    used = [one for one in found if one is not None]
    beside = [one.bbox for one, box in zip(found, labels, strict=True) if one is not None and one.bbox != box]
    assert len(set(beside)) == len(beside) and not set(beside) & set(labels)
    assert {one.bbox for one in used} | {one.bbox for one in rest} == set(answered)
    for box, answer in zip(labels, found, strict=True):
        assert answer is None or answer.bbox == box or iou(box, answer.bbox) >= SAME_BOX - 1e-9
        if answer is None:  # whatever would have been for it is used elsewhere
            assert all(iou(box, one.bbox) < SAME_BOX + 1e-9 for one in rest)


def test_a_box_that_is_there_twice_is_answered_once() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    [answer] = told(box)
    assert matched([box, box], [answer]) == ([answer, answer], [])


def test_a_box_without_an_area_is_in_nobodys_way() -> None:
    nothing, somebody = told((5.0, 5.0, 0.0, 0.0), (0.0, 0.0, 10.0, 11.0))
    assert matched([(5.0, 5.0, 0.0, 0.0), (0.0, 0.0, 10.0, 10.0)], [nothing, somebody]) == ([nothing, somebody], [])
    assert matched([(0.0, 0.0, 10.0, 10.0)], [nothing, somebody]) == ([somebody], [nothing])


@given(boxes, st.floats(0.8, 1.25))
def test_a_place_holds_boxes_that_tremble(box: Box, scale: float) -> None:
    shares = np.array([box]) / 100
    place = PlaceAnswer("door", "person", tuple(shares[0].tolist()))
    assert at_place(shares, place).tolist() == [True]
    grown = shares * [1, 1, scale, 1]
    assert at_place(grown, place).tolist() == [True]  # IoU 0.8 or more
    assert at_place(shares * [1, 1, 2, 1], place).tolist() == [False]  # half: somebody may stand there
    assert at_place(np.zeros((0, 4)), place).tolist() == []
