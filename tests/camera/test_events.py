from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.camera.events import Event, EventFinder
from fcoslite.detections.detections import Detections

ZONE = np.array([[100, 0], [400, 0], [400, 300], [100, 300]], np.float32)
FPS = 10


@pytest.fixture(scope="module")
def photograph(demo_data: Path) -> np.ndarray:
    picture = cv2.imread(str(demo_data / "images" / "000000000165.jpg"))
    return cv2.resize(picture, (500, 400))[..., ::-1]


def found(*people: tuple[int, float, float, float]) -> Detections:
    """Tracks, and where their feet are, and scores."""
    boxes = np.array([[x - 10, y - 50, x + 10, y] for _, x, y, _ in people], np.float32).reshape(-1, 4)
    scores, tracks = np.array([each[3] for each in people], np.float32), [each[0] for each in people]
    classes = np.full(len(people), 2, np.int32)
    return Detections(boxes, scores, classes, ("dog", "person"), np.array(tracks, np.int32))


def run(finder: EventFinder, frames: list[Detections], photograph: np.ndarray) -> list[Event]:
    events = []
    for frame, each in enumerate(frames):
        events += finder.update(each, photograph, frame / FPS, None, ZONE)
    return events + finder.close()


def walk(frames: int, track: int = 3, start: float = 50.0, step: float = 5.0) -> list[Detections]:
    return [found((track, start + step * frame, 200, 0.5 + 0.001 * frame)) for frame in range(frames)]


def test_one_walks_through_the_zone(photograph: np.ndarray) -> None:
    finder = EventFinder("door", 1.0)
    (event,) = run(finder, [*walk(80), *[found()] * 20], photograph)
    # feet are in 100..400 from frame 10 to frame 70
    assert (event.camera, event.track, event.start, event.end) == ("door", 3, 1.0, 7.0)
    assert event.seconds == pytest.approx(6.0) and event.score == pytest.approx(0.57)
    assert event.box_xyxy.tolist() == [390, 150, 410, 200]  # in the frame that scored best
    assert event.picture_rgb.shape == (320, 320, 3)
    expected = cv2.resize(photograph[115:235, 340:460], (320, 320), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(event.picture_rgb, expected)


def test_who_is_too_short_inside_or_never_is_no_event(photograph: np.ndarray) -> None:
    for seconds, events in ((5.9, 1), (6.1, 0)):
        assert len(run(EventFinder("door", seconds), walk(80), photograph)) == events
    outside = [found((3, 50, 200, 0.9), (4, 200, 350, 0.9)) for _ in range(50)]
    assert run(EventFinder("door", 0), outside, photograph) == []
    # without a number, or of another class
    untracked = [found((-1, 200, 200, 0.9)) for _ in range(50)]
    assert run(EventFinder("door", 0), untracked, photograph) == []
    dog = Detections(*[getattr(found((3, 200, 200, 0.9)), name) for name in ("boxes_xyxy", "scores")],
                     np.array([1], np.int32), ("dog", "person"), np.array([3], np.int32))  # fmt: skip
    assert run(EventFinder("door", 0), [dog] * 50, photograph) == []


def test_a_gap_of_a_second_is_none_and_a_longer_one_ends_the_event(photograph: np.ndarray) -> None:
    inside = [found((3, 200, 200, 0.9))] * 20
    (event,) = run(EventFinder("door", 1.0), [*inside, *[found()] * 9, *inside], photograph)
    assert (event.start, event.end) == (0, 4.8)
    first, second = run(EventFinder("door", 1.0), [*inside, *[found()] * 11, *inside], photograph)
    assert (first.end, second.start, second.track) == (1.9, 3.1, 3) and first.id != second.id
    # feet that come and go on the border
    border = [found((3, 98 + 4 * (frame % 2), 200, 0.9)) for frame in range(40)]
    assert len(run(EventFinder("door", 1.0), border, photograph)) == 1


def test_an_event_ends_a_second_after_the_last_frame_with_it(photograph: np.ndarray) -> None:
    finder = EventFinder("door", 1.0)
    for frame in range(20):
        assert finder.update(found((3, 200, 200, 0.9)), photograph, frame / FPS, None, ZONE) == []
        assert finder.present == (frame >= 10)
    for frame in range(20, 30):
        ended = finder.update(found((9, 200, 200, 0.9)), photograph, frame / FPS, None, ZONE)
        assert (len(ended), finder.present) == (0, 1) if frame < 30 else (1, 0)
    (event,) = finder.update(found((9, 200, 200, 0.9)), photograph, 3.0, None, ZONE)
    assert event.track == 3 and finder.present == 1  # who came at 2.0 counts from now on
    assert [event.track for event in finder.close()] == [9] and finder.close() == []


def test_times_are_those_of_capture_also_where_the_clock_is_set(photograph: np.ndarray) -> None:
    finder, noon = EventFinder("door", 1.0), datetime(2026, 11, 28, 12, 0, 0, 120_000, UTC)
    for frame in range(20):
        set_back = timedelta(hours=-1) if frame > 10 else timedelta()
        captured = noon + timedelta(seconds=frame / FPS) + set_back
        finder.update(found((3, 200, 200, 0.9)), photograph, frame / FPS, captured, None)
    (event,) = finder.close()
    document = event.document()
    assert (document["start"], document["end"]) == ("2026-11-28T12:00:00.120Z", "2026-11-28T11:00:02.020Z")
    assert document["seconds"] == 1.9
    assert document["bbox"] == [190, 150, 20, 50] and document["picture"] is None
