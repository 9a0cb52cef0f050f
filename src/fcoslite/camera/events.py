"""Events: a tracked person is inside the zone for some time."""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

import numpy as np

from fcoslite.data.capture import date_text
from fcoslite.detections.detections import Detections
from fcoslite.detections.draw import crop_around
from fcoslite.inference.zone import feet_inside

PERSON = "person"

# outside the zone, or not seen: the tracker gives a number up after as long, and on a zone's border feet come and go
_GAP_SECONDS = 1.0
_PICTURE_SIDE = 320  # pixels


@dataclass(frozen=True, eq=False)
class Event:
    """A person was inside the zone.

    Attributes:
        id: No other event has it, of whatever run and machine.
        camera: Name of the camera.
        track: The person's number in the run.
        start: Of the first frame with the person inside: when it was taken; of a recording, seconds since its first.
        end: Of the last one.
        seconds: From start to end, by a clock that is never set.
        score: Of the best picture.
        box_xyxy: [4], the person in the frame of the best picture, pixels.
        picture_rgb: [h, w, 3] uint8, the person in that frame, with twice as much around.
        picture: File name of the picture, relative to the file of events, if it was saved.
    """

    id: str
    camera: str
    track: int
    start: datetime | float
    end: datetime | float
    seconds: float
    score: float
    box_xyxy: np.ndarray
    picture_rgb: np.ndarray
    picture: PurePosixPath | None = None

    def document(self) -> dict[str, Any]:
        """As plain data: a line of JSON."""
        x_min, y_min, x_max, y_max = self.box_xyxy.astype(float).tolist()
        return {
            "id": self.id,
            "camera": self.camera,
            "track": self.track,
            "start": _time(self.start),
            "end": _time(self.end),
            "seconds": round(self.seconds, 3),
            "score": round(self.score, 5),
            "bbox": [round(side, 2) for side in (x_min, y_min, x_max - x_min, y_max - y_min)],
            "picture": None if self.picture is None else str(self.picture),
        }


@dataclass
class _Visit:
    """An event that may go on. `began` and `seen`, seconds, are of the first and last frame with the person inside."""

    event: Event
    began: float
    seen: float


class EventFinder:
    """Finds the events of one camera or video.

    Args:
        camera: Its name.
        min_seconds: So long somebody must be inside; shorter ones are no events.
    """

    def __init__(self, camera: str, min_seconds: float) -> None:
        self._camera = camera
        self._min_seconds = min_seconds
        self._visits: dict[int, _Visit] = {}  # by track

    @property
    def present(self) -> int:
        """How many people are inside, and have been for long enough."""
        return sum(self._counts(visit) for visit in self._visits.values())

    def update(
        self,
        found: Detections,
        image_rgb: np.ndarray,
        seconds: float,
        captured: datetime | None = None,
        zone_xy: np.ndarray | None = None,
    ) -> list[Event]:
        """Go on with the next frame.

        Args:
            found: Tracked boxes in it; those that are no person, or have no number, do not count.
            image_rgb: [h, w, 3] uint8, the frame.
            seconds: Since the first frame.
            captured: When it was taken, if that is known.
            zone_xy: [K, 2] corners of the zone, pixels; None: all of the frame.

        Returns:
            Events that are over.
        """
        person = found.class_names.index(PERSON) + 1
        tracks = found.track_ids if found.track_ids is not None else np.full(len(found), -1, np.int32)
        counts = (found.class_ids == person) & (tracks > 0) & feet_inside(found.boxes_xyxy, zone_xy)
        for row in np.flatnonzero(counts):
            self._see(int(tracks[row]), found.boxes_xyxy[row], float(found.scores[row]), image_rgb, seconds, captured)
        return self._over(seconds)

    def close(self) -> list[Event]:
        """Nothing comes any more: every event is over."""
        return self._over(float("inf"))

    def _see(
        self,
        track: int,
        box_xyxy: np.ndarray,
        score: float,
        image_rgb: np.ndarray,
        seconds: float,
        captured: datetime | None,
    ) -> None:
        moment = seconds if captured is None else captured
        visit = self._visits.get(track)
        if visit is None:
            event = Event(uuid4().hex, self._camera, track, moment, moment, 0.0, 0.0, box_xyxy, image_rgb[:0])
            visit = self._visits[track] = _Visit(event, seconds, seconds)
        visit.seen = seconds
        visit.event = replace(visit.event, end=moment, seconds=seconds - visit.began)
        if score > visit.event.score:
            picture_rgb = crop_around(image_rgb, box_xyxy, _PICTURE_SIDE).image_rgb
            visit.event = replace(visit.event, score=score, box_xyxy=box_xyxy, picture_rgb=picture_rgb)

    def _over(self, seconds: float) -> list[Event]:
        over = [track for track, visit in self._visits.items() if seconds - visit.seen > _GAP_SECONDS]
        visits = [self._visits.pop(track) for track in over]
        return [visit.event for visit in visits if self._counts(visit)]

    def _counts(self, visit: _Visit) -> bool:
        return visit.event.seconds >= self._min_seconds


def _time(moment: datetime | float) -> str | float:
    return date_text(moment) if isinstance(moment, datetime) else round(moment, 3)
