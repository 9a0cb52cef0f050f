from collections.abc import Iterator

import numpy as np
import pytest

from fcoslite.detections.detections import Detections
from fcoslite.detections.draw import draw_arrow, draw_detections
from fcoslite.detections.formats import to_boxes
from fcoslite.errors import FcosliteError
from fcoslite.inference.detect_sources import Result, track
from fcoslite.inference.input.listing import Listed
from fcoslite.inference.tracking import Line, LineCounter, Tracker, Tracking, check_tracking

FPS = 10
VIDEO, OTHER, PHOTOGRAPH = Listed("v", "v", True), Listed("w", "w", True), Listed("p", "p", False)


def found(*people: tuple[float, float, float], class_ids: list[int] | None = None) -> Detections:
    """Boxes of 20 x 50 pixels whose feet are at (x, y), and their scores."""
    boxes = np.array([[x - 10, y - 50, x + 10, y] for x, y, _ in people], np.float32).reshape(-1, 4)
    ids = np.array(class_ids or [1] * len(people), np.int32)
    return Detections(boxes, np.array([score for *_, score in people], np.float32), ids, ("person", "dog"))


def walk(frames: int = 30) -> Iterator[Detections]:
    """One walks down from y = 60, another up from y = 240; the second is hardly seen in the middle."""
    for frame in range(frames):
        yield found((50, 60 + 6 * frame, 0.9), (150, 240 - 6 * frame, 0.8 if not 10 < frame < 15 else 0.25))


def test_everyone_keeps_a_number() -> None:
    tracker = Tracker(0.35)
    tracked = [tracker.update(each, frame / FPS) for frame, each in enumerate(walk())]
    assert tracked[0].track_ids is not None and tracked[0].track_ids.tolist() == [-1, -1]
    for each in tracked[1:]:
        assert each.track_ids is not None and each.track_ids.tolist() == [1, 2]
        assert each.track_ids.dtype == np.int32


@pytest.mark.parametrize("rate", [2, 3, 5, 10, 25, 30])
def test_who_stands_still_keeps_a_number_though_the_box_trembles(rate: int) -> None:
    tracker, random = Tracker(0.35), np.random.default_rng(0)
    numbers = set()
    for frame in range(12 * rate):
        x, y = np.array([150, 200]) + random.normal(0, 2, 2)
        left = tracker.update(found((x, y, 0.9), (50, 50 + 10 * frame / rate, 0.9)), frame / rate)
        assert left.track_ids is not None
        numbers |= set(left.track_ids.tolist())
    assert numbers == {-1, 1, 2}


def test_a_box_of_low_score_that_nobody_has_is_dropped() -> None:
    tracker = Tracker(0.35)
    for frame in range(5):
        left = tracker.update(found((50, 60, 0.9), (150, 60, 0.25), (250, 60, 0.4)), frame / FPS)
        assert left.scores.tolist() == pytest.approx([0.9, 0.4])
    assert left.track_ids is not None and left.track_ids.tolist() == [1, -1]  # 0.4 is too doubtful for a number
    nothing = tracker.update(found(), 0.5)
    assert nothing.track_ids is not None and len(nothing) == len(nothing.track_ids) == 0


def test_classes_are_tracked_apart_and_share_no_number() -> None:
    tracker = Tracker(0.35)
    for frame in range(4):
        left = tracker.update(found((50, 60, 0.9), (52, 60, 0.9), class_ids=[1, 2]), frame / FPS)
    assert left.track_ids is not None and sorted(left.track_ids.tolist()) == [1, 2]


@pytest.mark.parametrize(("line", "expected"), [(Line(0, 150, 200, 150), (1, 1)), (Line(0, 150, 100, 150), (0, 1))])
def test_who_crosses_a_line_is_counted_each_way(line: Line, expected: tuple[int, int]) -> None:
    tracker, counter = Tracker(0.35), LineCounter(line)
    for frame, each in enumerate(walk()):
        counter.update(tracker.update(each, frame / FPS))
    crossings = counter.crossings
    # looking along the line, down is to the right
    assert (crossings.to_left, crossings.to_right) == expected
    turned = LineCounter(Line(line.x1, line.y1, line.x0, line.y0))
    tracker = Tracker(0.35)
    for frame, each in enumerate(walk()):
        turned.update(tracker.update(each, frame / FPS))
    assert (turned.crossings.to_right, turned.crossings.to_left) == expected


def test_who_stands_on_the_line_is_not_counted_again_and_again() -> None:
    tracker, counter = Tracker(0.35), LineCounter(Line(0, 150, 200, 150))
    for frame in range(40):
        counter.update(tracker.update(found((50, 149 + 2 * (frame % 2), 0.9)), frame / FPS))
    assert (counter.crossings.to_left, counter.crossings.to_right) == (0, 0)


def test_every_video_begins_anew_and_images_are_not_tracked() -> None:
    picture = np.zeros((300, 200, 3), np.uint8)
    results = [Result(PHOTOGRAPH, picture, found((50, 60, 0.9), (150, 60, 0.25)))]
    for video in (VIDEO, OTHER):
        results += [Result(video, picture, each, frame, frame / FPS) for frame, each in enumerate(walk())]
    tracked = list(track(results, Tracking(0.35, Line(0, 150, 200, 150))))
    assert len(tracked) == 61
    assert tracked[0].detections.track_ids is None and len(tracked[0].detections) == 1
    for place in (30, 60):
        crossings = tracked[place].crossings
        assert crossings is not None and (crossings.to_left, crossings.to_right) == (1, 1)
        ids = tracked[place].detections.track_ids
        assert ids is not None and ids.tolist() == [1, 2]


def test_numbers_are_in_what_is_written_and_drawn() -> None:
    tracker = Tracker(0.35)
    for frame in range(3):
        each = tracker.update(found((50, 60, 0.9), (150, 60, 0.4)), frame / FPS)
    assert [box["track"] for box in to_boxes(each)] == [1, None]
    assert each.labels == ["person #1 0.97", "person 0.74"]
    assert each.take(np.array([1])).labels == ["person 0.74"]
    picture = np.full((100, 200, 3), 120, np.uint8)
    drawn = draw_detections(picture, each)
    assert (drawn != picture).any()
    arrow = draw_arrow(picture, np.array([[10, 50], [190, 50]]), "1 to left")
    assert (arrow[50, 60] == 255).all() and (arrow[90] == 120).all()


def test_without_the_package_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    check_tracking()
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(FcosliteError, match="trackers") as raised:
        check_tracking()
    assert "fcoslite[track]" in raised.value.hint
