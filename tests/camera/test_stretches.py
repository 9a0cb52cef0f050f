import json
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcoslite.camera.stretches import MOST_APART_SECONDS, find_stretches
from fcoslite.camera.visits import Stretch
from fcoslite.data.capture import date_text, recorded_at
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.data.formats.table import to_dataset
from fcoslite.errors import DataError


def taken(seconds: float | None, camera: str | None = "door", **more: Any) -> dict[str, Any]:
    """What an image says of itself."""
    date = {} if seconds is None else {"date_captured": date_text(recorded_at(seconds))}
    return {**date, **({} if camera is None else {"camera": camera}), **more}


def found(folder: Path, *images: dict[str, Any]) -> list[Stretch]:
    records = [
        {"id": number, "file_name": f"{number}.jpg", "height": 10, "width": 10, **image}
        for number, image in enumerate(images, start=1)
    ]
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": records, "annotations": [], "categories": [{"id": 1, "name": "person"}]}))
    table = open_coco(path)
    return find_stretches(table, to_dataset(table).images)


def names(stretch: Stretch) -> list[str]:
    return [image.file_name for image in stretch.images]


def test_frames_are_by_camera_and_time_and_cut_where_they_are_far_apart(tmp_path: Path) -> None:
    door = [taken(seconds) for seconds in (0.8, 0.0, 0.4, 1.2, 9.0, 9.5, 10.0)]
    yard = [taken(seconds, "yard") for seconds in (0.2, 0.7, 1.2)]
    lone = [taken(20), taken(30), taken(30.4), taken(None), taken(0.1, None), {"date_captured": 0, "camera": "door"}]
    first, second, other = found(tmp_path, *door, *yard, *lone)
    assert names(first) == ["2.jpg", "3.jpg", "1.jpg", "4.jpg"] and names(second) == ["5.jpg", "6.jpg", "7.jpg"]
    assert names(other) == ["8.jpg", "9.jpg", "10.jpg"] and (first.camera, other.camera) == ("door", "yard")
    assert first.seconds == pytest.approx((0, 0.4, 0.8, 1.2)) and second.seconds == pytest.approx((0, 0.5, 1))
    assert (second.started, other.started) == (recorded_at(9), recorded_at(0.2))
    assert (first.length, second.length) == pytest.approx((1.2, 1))


@pytest.mark.parametrize(
    ("images", "told", "hint"),
    [
        ([{}, {}], "says of no image when", "fcoslite label"),
        ([taken(1, None), taken(None)], "says of no image when", "fcoslite label"),
        ([taken(1)], "has one frame", "follow each other"),
        ([taken(1), taken(1, "yard")], "2 frames, each of another camera", "follow each other"),
        ([taken(0), taken(2), taken(4)], "frames 2 s apart", "at most 0.5 s apart"),
        ([taken(0), taken(0.4), taken(0.8)], "frames 0.4 s apart", "for a second at least"),
        ([taken(0), taken(3), taken(3)], "2.jpg and 3.jpg of door are of the same time, 1970", "fractions of a second"),
        ([taken(0), {"date_captured": "noon", "camera": "door"}], "of 2.jpg is 'noon'", "2026-11-28T22:41:03.120Z"),
    ],
)
def test_what_cannot_be_told_is_said(tmp_path: Path, images: list[dict[str, Any]], told: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        found(tmp_path, *images)
    assert told in caught.value.message and hint in caught.value.hint
    assert str(tmp_path) in caught.value.message


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moments=st.sets(st.tuples(st.sampled_from(["door", "yard"]), st.integers(0, 200)), min_size=1, max_size=40))
def test_stretches_are_close_within_and_far_from_each_other(tmp_path: Path, moments: set[tuple[str, int]]) -> None:
    listed = sorted(moments, key=lambda moment: (moment[1] * 7919 % 211, moment))  # in no order of time
    when = {f"{number}.jpg": moment for number, moment in enumerate(listed, start=1)}
    try:
        stretches = found(tmp_path, *(taken(0.1 * tenth, camera) for camera, tenth in listed))
    except DataError:
        stretches = []
    covered = set()
    for stretch in stretches:
        tenths = [when[name] for name in names(stretch)]
        covered |= set(tenths)
        assert {camera for camera, _ in tenths} == {stretch.camera} and stretch.length >= 1
        assert [stretch.started + timedelta(seconds=second) for second in stretch.seconds] == [
            recorded_at(0.1 * tenth) for _, tenth in tenths
        ]
        camera, first, last = stretch.camera, tenths[0][1], tenths[-1][1]
        near = int(10 * MOST_APART_SECONDS)
        assert all(other - tenth <= near for (_, tenth), (_, other) in pairwise(tenths))
        outside = {tenth for other, tenth in moments if other == camera} - {tenth for _, tenth in tenths}
        assert not outside & set(range(first - near, last + near + 1))
    for camera, tenth in moments - covered:  # without a neighbour, or too short a stretch
        assert not {(camera, tenth + step) for step in range(-2, 9)} <= moments
