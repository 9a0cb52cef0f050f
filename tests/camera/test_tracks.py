import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fcoslite.camera.tracks import Track, find_tracks
from fcoslite.detections.detections import Detections

Seen = tuple[float, float]  # x of the left side, and score


def frame(*seen: Seen, class_ids: list[int] | None = None) -> Detections:
    """Boxes of 20 x 50 pixels."""
    boxes = np.array([[x, 10, x + 20, 60] for x, _ in seen], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in seen], np.float32)
    return Detections(boxes, scores, np.array(class_ids or [1] * len(seen), np.int32), ("person", "dog"))


def told(track: Track) -> tuple[list[int], list[float]]:
    return track.frames.tolist(), track.boxes_xyxy[:, 0].tolist()


def test_a_track_has_its_first_box_which_has_no_number_yet() -> None:
    seconds = [0.0, 0.3, 0.6, 0.9, 1.2]
    found = [
        frame(),
        frame((100, 0.9)),
        frame((104, 0.9), (300, 0.8)),
        frame((108, 0.9), (300, 0.8)),
        frame((112, 0.9)),
    ]
    walker, other = find_tracks(seconds, found, 0.4)
    assert told(walker) == ([1, 2, 3, 4], [100, 104, 108, 112])
    assert (walker.start, walker.length) == (0.3, pytest.approx(0.9))
    assert told(other) == ([2, 3], [300, 300])


def test_first_boxes_of_two_who_appear_together_are_not_mixed_up() -> None:
    found = [frame((100, 0.9), (112, 0.8)), frame((112, 0.9), (100, 0.8)), frame((100, 0.9), (112, 0.9))]
    tracks = find_tracks([0, 0.2, 0.4], found, 0.4)
    assert sorted(map(told, tracks)) == [([0, 1, 2], [100, 100, 100]), ([0, 1, 2], [112, 112, 112])]


def test_a_low_score_keeps_a_track_and_begins_none() -> None:
    found = [frame((100, 0.8), (300, 0.3)), frame((100, 0.9), (300, 0.3)), frame((100, 0.3), (300, 0.3))]
    [track] = find_tracks([0, 0.2, 0.4], found, 0.4)
    assert told(track) == ([0, 1, 2], [100, 100, 100])
    assert track.scores.tolist() == pytest.approx([0.8, 0.9, 0.3]) and track.best == 1


@pytest.mark.parametrize(("hidden", "tracks"), [(4, 1), (6, 2)])  # frames: for 1 s, and for 1.4 s
def test_who_is_hidden_for_more_than_a_second_comes_again(hidden: int, tracks: int) -> None:
    found = [*[frame((100, 0.9))] * 5, *[frame()] * hidden, *[frame((100, 0.9))] * 5]
    assert len(find_tracks([0.2 * number for number in range(len(found))], found, 0.4)) == tracks


def test_classes_are_apart() -> None:
    found = [frame((100, 0.9), (100, 0.9), class_ids=[1, 2])] * 3
    assert [track.class_id for track in find_tracks([0, 0.2, 0.4], found, 0.4)] in ([1, 2], [2, 1])


seen = st.lists(
    st.tuples(st.integers(0, 30).map(lambda x: 12.0 * x), st.integers(1, 32).map(lambda score: score / 32)), max_size=5
)


@given(st.lists(seen.map(lambda boxes: frame(*boxes)), min_size=1, max_size=12), st.floats(0.1, 0.9))
@example([frame((0.0, 0.21875), (0.0, 0.25)), frame((0.0, 0.09375), (0.0, 0.09375))], 0.109375)
def test_tracks_are_made_of_what_was_found(found: list[Detections], score: float) -> None:
    seconds = [0.25 * number for number in range(len(found))]
    taken = set()
    for track in find_tracks(seconds, found, score):
        assert len(track.frames) >= 2 and (np.diff(track.frames) > 0).all()
        assert track.seconds.tolist() == [seconds[number] for number in track.frames]
        assert (np.diff(track.seconds) <= 1.25).all() and track.scores.max() >= score
        for number, box, got in zip(track.frames.tolist(), track.boxes_xyxy, track.scores, strict=True):
            rows = [
                row
                for row in range(len(found[number]))
                if (found[number].boxes_xyxy[row] == box).all() and found[number].scores[row] == got
            ]
            row = next((row for row in rows if (number, row) not in taken), None)
            assert row is not None, "a box is in two tracks, or in none of the frame's"
            taken.add((number, row))
