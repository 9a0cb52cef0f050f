"""Which frames are kept."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fcoslite.camera.choice import Choice
from fcoslite.camera.frames import CameraFrame

TEN = datetime(2026, 11, 28, 22, 0, tzinfo=UTC)

Event = tuple[float, str, int]  # seconds after ten, why, hash


def offer(choice: Choice, events: list[Event]) -> list[CameraFrame]:
    """The frames that are kept of those that come."""
    kept = []
    for seconds, why, silhouette in events:
        captured = TEN + timedelta(milliseconds=round(1000 * seconds))
        taken = choice.takes_moved(captured, silhouette) if why == "moved" else choice.takes_quiet(captured)
        if taken:
            name = f"door/{captured:%H%M%S%f}.jpg"
            frame = CameraFrame(name, "door", captured, why, silhouette if why == "moved" else None)  # type: ignore[arg-type]
            choice.add(frame)
            kept.append(frame)
    return kept


def spread(number: int) -> int:
    """Hashes that are far from each other."""
    return (number * 0x9E3779B97F4A7C15) % 2**64


def busy(start: float, seconds: float) -> list[Event]:
    """Something else moves five times a second."""
    return [(start + step / 5, "moved", spread(step)) for step in range(round(5 * seconds))]


def test_a_busy_hour_is_spread_and_bounded() -> None:
    kept = offer(Choice(60), busy(0, 3600))
    minutes = Counter(frame.captured.minute for frame in kept)
    assert len(kept) == 48  # of 60, a fifth of which is for quiet ones
    assert minutes[0] == 25 and sum(minutes[minute] for minute in range(30, 60)) >= 11
    assert len(offer(Choice(60), busy(0, 2 * 3600))) == 96


def test_a_short_visit_late_in_the_hour_is_kept() -> None:
    assert len(offer(Choice(60), busy(3000, 20))) == 20  # one a second


def test_more_than_one_a_second_for_who_wants_them() -> None:
    assert len(offer(Choice(36_000), busy(0, 60))) == 300


def test_what_looks_like_another_is_left_out() -> None:
    close = 0b111111
    events: list[Event] = [(0, "moved", 0), (10, "moved", close), (20, "moved", close << 1 | 1), (30, "moved", 0)]
    assert [frame.captured.second for frame in offer(Choice(60), events)] == [0, 20]


def test_quiet_frames_are_spread() -> None:
    kept = offer(Choice(60), [(float(second), "quiet", 0) for second in range(3600)])
    assert [frame.captured.minute for frame in kept] == list(range(0, 60, 5))
    kept = offer(Choice(60), [*busy(0, 3000), (3010.0, "quiet", 0)])
    assert kept[-1].why == "quiet"


def test_a_clock_that_goes_back_brings_nothing_twice() -> None:
    choice = Choice(600)
    first = offer(choice, busy(100, 20))
    again = offer(
        choice, [(seconds, why, spread(1000 + number)) for number, (seconds, why, _) in enumerate(busy(100, 30))]
    )
    assert not {frame.file_name for frame in first} & {frame.file_name for frame in again}
    assert len(again) >= 9


@given(
    st.lists(
        st.tuples(st.floats(0, 10_000), st.sampled_from(["moved", "quiet"]), st.integers(0, 2**64 - 1)), max_size=60
    ),
    st.integers(1, 5000),
    st.integers(0, 60),
)
def test_going_through_it_again_ends_with_the_same(events: list[Event], per_hour: int, killed_after: int) -> None:
    events.sort()
    whole = offer(Choice(per_hour), events)
    assert max(Counter(frame.captured.hour for frame in whole).values(), default=0) <= per_hour
    first = offer(Choice(per_hour), events[:killed_after])
    choice = Choice(per_hour)
    for frame in first:
        choice.add(frame)
    assert first + offer(choice, events) == whole
