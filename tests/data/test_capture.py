from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.capture import Capture, capture_of, date_text, parse_date, recorded_at, spoken_date

NIGHT = datetime(2026, 11, 28, 22, 41, 3, 120_000, UTC)


@pytest.mark.parametrize(
    "text",
    ["2026-11-28T22:41:03.120Z", "2026-11-28 22:41:03.12", "2026-11-28T23:41:03.120+01:00", "20261128T224103.120Z"],
)
def test_a_time_in_iso_8601_is_utc_unless_it_says_another_zone(text: str) -> None:
    assert parse_date(text) == NIGHT
    assert capture_of("door", text) == Capture("door", NIGHT)
    assert Capture("door", NIGHT).time == 1795905663.12


@pytest.mark.parametrize(
    ("camera", "date"),
    [
        (None, "2013-11-14 17:02:52"),  # COCO's own photographs
        ("", "2026-11-28T22:41:03Z"),
        ({"make": "Canon"}, "2026-11-28T22:41:03Z"),
        ("door", None),
        ("door", 0),  # CVAT's
        ("door", ""),
    ],
)
def test_without_either_there_is_none(camera: object, date: object) -> None:
    assert capture_of(camera, date) is None


def test_dates_as_files_and_people_have_them() -> None:
    assert date_text(NIGHT) == "2026-11-28T22:41:03.120Z"
    assert date_text(NIGHT.astimezone(timezone(timedelta(hours=-5)))) == "2026-11-28T22:41:03.120Z"
    assert parse_date("2013-11-14 17:02:52") == datetime(2013, 11, 14, 17, 2, 52, tzinfo=UTC)  # as in COCO
    assert spoken_date(NIGHT.astimezone(timezone(timedelta(hours=-5)))) == "2026-11-28 22:41:03 UTC"
    assert spoken_date(recorded_at(61.56)) == "00:01:01.5 of the recording"
    assert date_text(recorded_at(61.5)) == "1970-01-01T00:01:01.500Z"


@pytest.mark.parametrize(
    "text", ["yesterday", "22:41:03", "1764369663", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+05:00"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_date(text)
    with pytest.raises(ValueError, match=r".+"):
        capture_of("door", text)


@given(st.datetimes(timezones=st.timezones()))
def test_a_written_date_is_read_again(taken: datetime) -> None:
    try:
        written = date_text(taken)
    except OverflowError:  # in UTC it would be in the year 0 or 10000
        return
    assert timedelta(0) <= taken - parse_date(written) < timedelta(milliseconds=1)
    assert date_text(parse_date(written)) == written
