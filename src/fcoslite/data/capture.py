"""When an image was taken, and by which camera, as the image records of COCO files say it."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Capture:
    """A moment of a camera.

    Attributes:
        camera: Its name.
        time: Seconds since 1970, UTC.
    """

    camera: str
    time: float


def capture_of(camera: object, date_captured: object) -> Capture | None:
    """What an image record says; None unless it names a camera, and a time in ISO 8601 (UTC where no zone is named).

    A time alone is not enough: every image of COCO has one, of a photograph that was taken for itself.
    """
    if not (isinstance(camera, str) and camera and isinstance(date_captured, str)):
        return None
    try:
        moment = datetime.fromisoformat(date_captured)
        return Capture(camera, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
