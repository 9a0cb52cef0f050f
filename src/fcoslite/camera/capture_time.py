"""When a frame was taken, as `date_captured` of COCO's images has it: `2026-11-28T22:41:03.120Z`."""

from datetime import UTC, datetime, timedelta

# where the date of a recording is not known its first frame has this one: its own times are right all the same
_NO_DATE = datetime(1970, 1, 1, tzinfo=UTC)


def date_text(captured: datetime) -> str:
    """A time with its zone, as text in UTC, to the millisecond."""
    return captured.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def spoken_date(captured: datetime) -> str:
    """The same to be read: a date, or where in its recording a frame is."""
    moment = captured.astimezone(UTC)
    if moment.date() == _NO_DATE.date():
        return f"{moment:%H:%M:%S}.{moment.microsecond // 100_000} of the recording"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def recorded_at(seconds: float) -> datetime:
    """The time of a frame of a recording, seconds after its first, of which no date is known."""
    return _NO_DATE + timedelta(seconds=seconds)


def parse_date(text: str) -> datetime:
    """The time that a text stands for, in UTC, which is also meant where no zone is named, as by COCO itself.

    Raises:
        ValueError: It is no date with a time.
    """
    captured = datetime.fromisoformat(text)
    try:
        return (captured if captured.tzinfo is not None else captured.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as error:  # in UTC it would be in the year 0 or 10000
        raise ValueError(str(error)) from None
