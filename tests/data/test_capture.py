import pytest

from fcoslite.data.capture import Capture, capture_of

NIGHT = 1795905663.12  # 2026-11-28T22:41:03.120 UTC


@pytest.mark.parametrize(
    "text",
    ["2026-11-28T22:41:03.120Z", "2026-11-28 22:41:03.12", "2026-11-28T23:41:03.120+01:00", "20261128T224103.120Z"],
)
def test_a_time_in_iso_8601_is_utc_unless_it_says_another_zone(text: str) -> None:
    assert capture_of("door", text) == Capture("door", NIGHT)


@pytest.mark.parametrize(
    ("camera", "date"),
    [
        (None, "2013-11-14 17:02:52"),  # COCO's own photographs
        ("", "2026-11-28T22:41:03Z"),
        ({"make": "Canon"}, "2026-11-28T22:41:03Z"),
        ("door", None),
        ("door", 0),  # CVAT's
        ("door", "28 Nov, in the evening"),
    ],
)
def test_without_either_there_is_none(camera: object, date: object) -> None:
    assert capture_of(camera, date) is None
