"""Visits and calls: small cases computed by hand, and what must hold for any frames."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.camera.visits import Row, Stretch, best_within, count, judge, lowest_within, needed_seconds
from fcoslite.data.dataset import LabelledImage
from fcoslite.detections.detections import Detections

STEP = 0.25  # seconds
DAWN = datetime(2026, 11, 28, tzinfo=UTC)
NAMES = ("person", "dog")

Box = tuple[float, float]  # x of the left side, and score; 20 x 50 pixels


def detections(*boxes: Box, class_ids: list[int] | None = None) -> Detections:
    corners = np.array([[x, 10, x + 20, 60] for x, _ in boxes], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in boxes], np.float32)
    return Detections(corners, scores, np.array(class_ids or [1] * len(boxes), np.int32), NAMES)


def labelled(*boxes: Box, crowd: tuple[float, float, float, float] | None = None) -> LabelledImage:
    found = detections(*boxes)
    crowds = np.array([crowd] if crowd else [], np.float32).reshape(-1, 4)
    corners = np.concatenate([found.boxes_xyxy, crowds])
    return LabelledImage(
        image_id=1,
        file_name="frame.jpg",
        height=100,
        width=1000,
        boxes_xyxy=corners,
        class_ids=np.ones(len(corners), np.int32),
        iscrowd=np.arange(len(corners)) >= len(found),
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
        scores=np.append(found.scores, [1.0] * len(crowds)).astype(np.float32),
    )


def stretch(*images: LabelledImage) -> Stretch:
    return Stretch("door", images, tuple(STEP * number for number in range(len(images))), DAWN)


NOBODY, SOMEBODY = labelled(), labelled((100, 1.0))
NOTHING = detections()


def test_who_is_seen_later_is_found_later() -> None:
    watched = stretch(*[NOBODY] * 2, *[SOMEBODY] * 9, NOBODY)  # a visit from 0.5 s to 2.5 s
    found = [*[NOTHING] * 4, *[detections((102, 0.8))] * 7, NOTHING]  # from 1 s on
    assert [(visit.start, visit.length) for visit in watched.visits] == [(0.5, 2.0)]
    judged = judge(watched, found, 0.4)
    assert (judged.found, judged.calls, judged.false_alarms) == ((0.5,), 1, ())
    assert count([judged], 0.4) == Row(0.4, 1, 0, 0.5, 1, 0, 0.0)
    # at 0.8 nothing begins a track, which takes a tenth more than the threshold
    assert judge(watched, found, 0.8).found == (None,)
    assert count([judge(watched, found, 0.8)], 0.8) == Row(0.8, 0, 1, None, 0, 0, 0.0)


@pytest.mark.parametrize(("frames", "visits", "alarms"), [(5, 1, 1), (4, 0, 0)])  # for 1 s, and for 0.75 s
def test_what_is_shorter_than_a_second_is_no_visit_and_no_alarm(frames: int, visits: int, alarms: int) -> None:
    watched = stretch(*[SOMEBODY] * frames, *[NOBODY] * 5)
    assert len(watched.visits) == visits
    coat = [detections((600, 0.8))] * frames
    judged = judge(watched, [*coat, *[NOTHING] * 5], 0.4)
    assert judged.found == (None,) * visits and len(judged.false_alarms) == judged.calls == alarms


def test_figures_of_several_stretches() -> None:
    watched = stretch(*[SOMEBODY] * 9)  # 2 s
    here, coat = detections((100, 0.8)), detections((100, 0.8), (600, 0.7))
    judged = [judge(watched, [here] * 9, 0.4), judge(watched, [*[NOTHING] * 2, *[coat] * 7], 0.4)]
    # one false alarm in 4 s is 21,600 in a day
    assert count(judged, 0.4) == Row(0.4, 2, 0, 0.25, 3, 1, 21_600.0)
    [alarm] = judged[1].false_alarms
    assert alarm.call.boxes_xyxy[alarm.worst, 0] == 600 and (alarm.call.start, alarm.call.length) == (0.5, 1.5)


@pytest.mark.parametrize(("passing", "alarms"), [(4, 1), (6, 0)])  # of ten frames
def test_a_coat_is_a_false_alarm_though_somebody_passes_it(passing: int, alarms: int) -> None:
    images = [labelled((605, 1.0))] * passing + [NOBODY] * (10 - passing)
    watched = stretch(*images)
    assert len(judge(watched, [detections((600, 0.8))] * 10, 0.4).false_alarms) == alarms


@pytest.mark.parametrize(
    ("crowd", "alarms"),
    [((0, 0, 110, 100), 0), ((0, 0, 109, 100), 1)],  # half of the box lies in it, or less
)
def test_a_crowd_counts_neither_way(crowd: tuple[float, float, float, float], alarms: int) -> None:
    watched = stretch(*[labelled((900, 1.0), crowd=crowd)] * 9)
    judged = judge(watched, [detections((100, 0.8))] * 9, 0.4)
    assert judged.found == (None,) and len(judged.false_alarms) == alarms


def test_a_doubtful_label_counts_neither_way() -> None:
    watched = stretch(*[labelled((100, 0.3), (900, 0.9))] * 9)
    assert len(watched.visits) == 1
    judged = judge(watched, [detections((100, 0.8))] * 9, 0.4)
    assert judged.found == (None,) and judged.calls == 1 and not judged.false_alarms


@pytest.mark.parametrize(("aside", "found", "alarms"), [(6, True, 0), (7, False, 0), (16, False, 0), (17, False, 1)])
def test_a_box_is_on_somebody_from_half_away_from_a_tenth(aside: int, found: bool, alarms: int) -> None:
    # IoU 14/26, 13/27, 4/36 and 3/37
    judged = judge(stretch(*[SOMEBODY] * 9), [detections((100 + aside, 0.8))] * 9, 0.4)
    assert (judged.found[0] is not None, len(judged.false_alarms)) == (found, alarms)


def test_another_class_finds_nobody() -> None:
    judged = judge(stretch(*[SOMEBODY] * 9), [detections((100, 0.8), class_ids=[2])] * 9, 0.4)
    assert judged.found == (None,) and len(judged.false_alarms) == 1


def test_the_lowest_threshold_from_which_on_alarms_are_few() -> None:
    rows = [Row(score, 3, 0, 0.0, 9, 0, alarms) for score, alarms in ((0.1, 0), (0.2, 9), (0.3, 2), (0.4, 3), (0.5, 0))]
    for wanted, score in ((9, 0.1), (8, 0.3), (3, 0.3), (2.5, 0.5), (0, 0.5)):
        chosen = lowest_within(rows, wanted)
        assert chosen is not None and chosen.score == score
    assert lowest_within(rows[:4], 1) is None
    assert needed_seconds(3) == 86_400 and needed_seconds(0) == float("inf")


def test_the_present_threshold_is_lowered_only_to_find_more() -> None:
    found = ((0.1, 5, 9), (0.2, 5, 1), (0.3, 5, 0), (0.4, 4, 0), (0.5, 4, 0), (0.6, 2, 0))
    rows = [Row(score, visits, 6 - visits, 0.0, 9, 0, alarms) for score, visits, alarms in found]
    for own, wanted, score in (
        (0.5, 0, 0.3),  # one more is found
        (0.3, 9, 0.3),  # none is, however low
        (0.6, 9, 0.3),
        (0.1, 1, 0.2),  # too many alarms
        (0.1, 0, 0.3),
        (0.1, 9, 0.1),
    ):
        chosen = best_within(rows, wanted, own)
        assert chosen is not None and chosen.score == score
    assert best_within(rows[:2], 0, 0.2) is None


boxes = st.tuples(st.integers(0, 30).map(lambda x: 12.0 * x), st.integers(1, 20).map(lambda score: score / 20))
frames = st.lists(st.lists(boxes, max_size=4), min_size=1, max_size=14)
scores = st.integers(2, 18).map(lambda score: score / 20)


@given(frames, frames, scores)
def test_counts_add_up(labels: list[list[Box]], seen: list[list[Box]], score: float) -> None:
    watched = stretch(*(labelled(*each) for each in labels))
    found = [detections(*each) for each in [*seen, *[[]] * len(labels)]][: len(labels)]
    judged = judge(watched, found, score)
    assert len(judged.found) == len(watched.visits)
    assert len(judged.false_alarms) <= judged.calls
    for visit, seconds in zip(watched.visits, judged.found, strict=True):
        assert visit.length >= 1 and (seconds is None or 0 <= seconds <= visit.length)
    for alarm in judged.false_alarms:
        away = [
            watched.nobody_is_under(frame, box, 1)
            for frame, box in zip(alarm.call.frames.tolist(), alarm.call.boxes_xyxy, strict=True)
        ]
        assert away[alarm.worst] and 2 * sum(away) > len(away) and alarm.call.length >= 1
    if watched.length:
        row = count([judged], score)
        assert row.found + row.missed == len(watched.visits)
        assert row.false_alarms_per_day * watched.length / 86_400 == pytest.approx(row.false_alarms)


@given(frames)
def test_who_finds_what_is_labelled_misses_nobody_and_alarms_nobody(labels: list[list[Box]]) -> None:
    watched = stretch(*(labelled(*each) for each in labels))
    judged = judge(watched, [detections(*each) for each in labels], 0.4)
    assert judged.found == (0.0,) * len(watched.visits) and not judged.false_alarms


@given(frames, scores)
def test_who_sees_nothing_misses_all_and_where_nobody_is_every_call_is_false(
    labels: list[list[Box]], score: float
) -> None:
    watched = stretch(*(labelled(*each) for each in labels))
    blind = judge(watched, [NOTHING] * len(labels), score)
    assert blind.found == (None,) * len(watched.visits) and blind.calls == 0
    found = [detections(*each) for each in labels]
    empty = judge(stretch(*[NOBODY] * len(labels)), found, score)
    assert empty.found == () and len(empty.false_alarms) == empty.calls
    crowd = judge(stretch(*[labelled(crowd=(0, 0, 1000, 100))] * len(labels)), found, score)
    assert crowd.calls == empty.calls and not crowd.false_alarms and not crowd.found


@given(frames, st.integers(1, 10**6))
def test_when_it_is_does_not_matter(labels: list[list[Box]], later: int) -> None:
    watched = stretch(*(labelled(*each) for each in labels))
    moved = replace(watched, seconds=tuple(second + later for second in watched.seconds))
    found = [detections(*each) for each in labels[::-1]]
    assert judge(moved, found, 0.4).found == judge(watched, found, 0.4).found


@given(st.lists(st.tuples(scores, st.integers(0, 5)), min_size=1, unique_by=lambda pair: pair[0]), st.integers(0, 5))
def test_the_chosen_threshold_is_the_lowest_possible(pairs: list[tuple[float, int]], wanted: int) -> None:
    rows = [Row(score, 0, 0, None, 0, 0, alarms) for score, alarms in pairs]
    chosen = lowest_within(rows, wanted)
    good = [
        row for row in rows if all(other.false_alarms_per_day <= wanted for other in rows if other.score >= row.score)
    ]
    assert chosen == (min(good, key=lambda row: row.score) if good else None)
