"""Frames of cameras: whole stretches validate, and no neighbour of theirs trains."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.config.settings import DataSettings
from fcoslite.data.capture import Capture, recorded_at
from fcoslite.data.dataset import Dataset, LabelledImage
from fcoslite.data.sources.split import split_dataset
from fcoslite.data.sources.split_by_time import split_by_time
from fcoslite.errors import DataError

HOUR = 3600.0


def frame(number: int, time: float | None, camera: str = "door", split: str | None = None) -> LabelledImage:
    nothing = np.zeros(0, np.float32)
    capture = None if time is None else Capture(camera, recorded_at(time))
    boxes = nothing.reshape(0, 4)
    ids, crowd = nothing.astype(np.int32), nothing.astype(bool)
    return LabelledImage(number, f"{number}.jpg", 48, 64, boxes, ids, crowd, nothing, nothing, split, capture)


def frames(times: Sequence[float]) -> list[LabelledImage]:
    return [frame(number, time) for number, time in enumerate(times, start=1)]


def times_of(images: Sequence[LabelledImage]) -> list[float]:
    return sorted(image.capture.time for image in images if image.capture is not None)


def test_of_one_short_video_the_last_fifth_validates(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        held_out, training = split_by_time(frames([number / 10 for number in range(0, 400, 4)]), 1200)
    assert times_of(held_out) == pytest.approx([number / 10 for number in range(320, 400, 4)])
    assert times_of(training) == pytest.approx([number / 10 for number in range(0, 300, 4)])  # to 29.6 s
    assert "5 frames nearer than 2 s" in caplog.text


def test_of_a_day_ten_stretches_validate_whole_visits() -> None:
    # every ten minutes somebody comes by, and is seen for six seconds
    day = [visit * 600.0 + second for visit in range(144) for second in range(6)]
    held_out, training = split_by_time(frames(day), 1200)
    assert len(held_out) + len(training) == len(day)  # cut between visits: nothing is left out
    visits = {int(time // 600) for time in times_of(held_out)}
    assert visits.isdisjoint({int(time // 600) for time in times_of(training)})
    assert sum(visit + 1 not in visits for visit in visits) == 10  # of each stretch the last
    assert 0.15 < len(held_out) / len(day) < 0.25


def test_three_short_recordings_of_a_day_each_give_their_end() -> None:
    """By day, at dusk and at night: a share chosen by one of them alone would say nothing of the others."""
    recordings = [hour * HOUR + number / 2 for hour in (12, 18, 23) for number in range(100)]
    held_out, _ = split_by_time(frames(recordings), 1200)
    assert [round(time % HOUR) for time in times_of(held_out)] == [
        round(40 + n / 2) for _ in range(3) for n in range(20)
    ]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20_000).map(lambda tenths: tenths / 10)), min_size=1),
    st.integers(0, 40),
)
def test_no_neighbours_on_both_sides_and_nothing_twice(moments: list[tuple[str, float]], most: int) -> None:
    images = [frame(number, time, camera) for number, (camera, time) in enumerate(moments, start=1)]
    try:
        held_out, training = split_by_time(images, most)
    except DataError:
        assert most
        return
    ids = [image.image_id for image in (*held_out, *training)]
    assert len(ids) == len(set(ids)) and len(held_out) <= most
    assert training
    for one in held_out:
        for other in training:
            assert one.capture and other.capture
            assert one.capture.camera != other.capture.camera or abs(one.capture.time - other.capture.time) > 2.0


@given(st.lists(st.integers(0, 10**6), min_size=10, max_size=200, unique=True))
def test_far_apart_all_are_used_and_a_fifth_validates(minutes: list[int]) -> None:
    held_out, training = split_by_time(frames([minute * 60.0 for minute in minutes]), 1200)
    assert len(held_out) + len(training) == len(minutes)
    assert 0.1 <= len(held_out) / len(minutes) <= 0.4


def test_of_more_than_may_validate_so_many_are_taken_over_all_of_the_time() -> None:
    held_out, training = split_by_time(frames([number * 60.0 for number in range(1000)]), 20)
    assert len(held_out) == 20
    assert np.ptp(times_of(held_out)) > 0.7 * 60_000
    assert len(training) == 800  # the others of those stretches are not trained on


def test_frames_of_one_moment_cannot_be_split() -> None:
    with pytest.raises(DataError, match="of 10 frames none") as caught:
        split_by_time(frames([number / 10 for number in range(10)]), 1200)
    assert "longer" in caught.value.hint and "data.validation_records=0" in caught.value.hint
    assert split_by_time(frames([0.0, 0.1]), 0)[0] == []


def dataset(images: list[LabelledImage]) -> Dataset:
    return Dataset(tuple(images), ("person",), (1,), Path())


def test_photographs_among_frames_are_split_as_ever() -> None:
    photographs = [frame(number, None) for number in range(1, 51)]
    camera = [frame(number, number * 60.0) for number in range(51, 151)]
    ordered, parts = split_dataset(dataset(photographs + camera), DataSettings(), 0)
    held_out = ordered[: len(parts.validation)]
    alone, alone_parts = split_dataset(dataset(photographs), DataSettings(), 0)
    assert sorted(i.image_id for i in held_out if i.capture is None) == sorted(
        i.image_id for i in alone[: len(alone_parts.validation)]
    )
    assert sum(i.capture is not None for i in held_out) == 20
    assert len(ordered) == 150 and {i.image_id for i in ordered} == set(range(1, 151))


def test_what_the_data_set_itself_says_counts_more() -> None:
    images = [frame(n, n * 60.0, split="val" if n % 2 else "train") for n in range(1, 21)]
    ordered, parts = split_dataset(dataset(images), DataSettings(), 0)
    assert {i.image_id % 2 for i in ordered[: len(parts.validation)]} == {1}
