"""When a frame was taken, as `date_captured` of COCO's images has it: `2026-11-28T22:41:03.120Z`."""

from datetime import UTC, datetime


def date_text(captured: datetime) -> str:
    """A time with its zone, as text in UTC, to the millisecond."""
    return captured.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
