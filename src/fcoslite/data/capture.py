"""When and by which camera an image was taken, as image records of COCO files say it: `2026-11-28T22:41:03.120Z`."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# where the date of a recording is not known its first frame has this one: its own times are right all the same
_NO_DATE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Capture:
    """A moment of a camera: its name, and the time in UTC."""

    camera: str
    captured: datetime

    @property
    def time(self) -> float:
        """Seconds since 1970."""
        return self.captured.timestamp()


def capture_of(camera: object, date_captured: object) -> Capture | None:
    """What an image record says; None unless it names a camera and a date.

    A date alone is not enough: every image of COCO has one, of a photograph that was taken for itself.

    Raises:
        ValueError: The date is a text that is none.
    """
    if not (isinstance(camera, str) and camera and isinstance(date_captured, str) and date_captured):
        return None
    return Capture(camera, parse_date(date_captured))


def parse_date(text: str) -> datetime:
    """The time that a text in ISO 8601 stands for, in UTC, also meant where no zone is named, as by COCO itself.

    Raises:
        ValueError: It is no date with a time.
    """
    captured = datetime.fromisoformat(text)
    try:
        return (captured if captured.tzinfo is not None else captured.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as error:  # in UTC it would be in the year 0 or 10000
        raise ValueError(str(error)) from None


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
