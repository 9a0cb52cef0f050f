"""From results to events, and to what takes them: a file, a broker, or both."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcoslite.camera.broker import Broker
from fcoslite.camera.event_file import EventFile, event_line
from fcoslite.camera.events import Event, EventFinder
from fcoslite.camera.spool import Spool
from fcoslite.detections.detections import Detections
from fcoslite.inference.detect import FrameResult
from fcoslite.inference.detect_sources import Result

if TYPE_CHECKING:
    from fcoslite.camera.mqtt import Publisher


@dataclass(frozen=True)
class Watch:
    """What counts as an event, and where events go.

    Attributes:
        min_seconds: So long somebody must be inside the zone.
        file: Of events; None: none is written. `-` is stdout.
        overwrite: Begin that file anew.
        broker: Of MQTT; None: nothing is sent.
        spool: Folder of what waits to be sent.
    """

    min_seconds: float
    file: Path | None = None
    overwrite: bool = False
    broker: Broker | None = None
    spool: Path = Path("mqtt-spool")

    def document(self) -> dict[str, Any]:
        """As plain data, for a plan."""
        plan: dict[str, Any] = {"events": self.file, "min_seconds": self.min_seconds}
        if self.broker is not None:
            plan |= {"mqtt": self.broker.shown, "mqtt_user": self.broker.user, "mqtt_spool": self.spool}
        return plan


class Watcher:
    """Watches one camera after the other. Use it in `with`: leaving it ends the events that go on, and writes them.

    Args:
        watch: What to do.
        camera: The first camera.

    Attributes:
        events: How many there were.

    Raises:
        BusyError: Another process writes to the file, or sends this camera's events.
        FcosliteError: The broker refuses, or the disk is full.
    """

    def __init__(self, watch: Watch, camera: str) -> None:
        self.events = 0
        self._watch = watch
        self._open = ExitStack()
        self._of_camera = ExitStack()
        self._file: EventFile | None = None
        self._spool: Spool | None = None
        self._publisher: Publisher | None = None
        self._camera, self._finder = camera, EventFinder(camera, watch.min_seconds)
        try:
            if watch.file is not None:
                self._file = self._open.enter_context(EventFile(watch.file, watch.overwrite))
            self._enter(camera)
        except BaseException:
            self.close()
            raise

    def go_over_to(self, camera: str) -> None:
        """What comes next is another recording, or of another camera: whoever was here is gone.

        Raises:
            FcosliteError: As of `see`.
        """
        self._leave()
        self._enter(camera)

    def see(
        self,
        image_rgb: np.ndarray,
        found: Detections,
        seconds: float,
        captured: datetime | None,
        zone_xy: np.ndarray | None,
    ) -> None:
        """Go on with the next frame, as `EventFinder.update` takes it.

        Raises:
            FcosliteError: Something cannot be written, or another program sends as this camera.
        """
        for event in self._finder.update(found, image_rgb, seconds, captured, zone_xy):
            self._take(event)
        if self._publisher is not None:
            self._publisher.show(self._finder.present)

    def close(self) -> None:
        """End what goes on, write it, and send what can be sent at once; once more does nothing."""
        with self._open:
            self._leave()

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _enter(self, camera: str) -> None:
        self._camera, self._finder = camera, EventFinder(camera, self._watch.min_seconds)
        if self._watch.broker is None:
            return
        from fcoslite.camera.mqtt import Publisher

        self._spool = self._of_camera.enter_context(Spool(self._watch.spool, camera))
        self._write_what_a_kill_kept()
        self._publisher = self._of_camera.enter_context(Publisher(self._watch.broker, camera, self._spool))
        self._publisher.start()

    def _leave(self) -> None:
        with self._of_camera:
            for event in self._finder.close():
                self._take(event)
        self._spool = self._publisher = None

    def _take(self, event: Event) -> None:
        if self._file is not None:
            event = self._file.save_picture(event)
        line = event_line(event)
        if self._spool is not None:
            self._spool.add(event.id, line, None if self._file is None else self._file.path)
        if self._file is not None:
            self._file.append(line)
        if self._spool is not None and self._file is not None:
            self._spool.written(event.id)
        self.events += 1

    def _write_what_a_kill_kept(self) -> None:
        """A kill between two steps of `_take` may leave an event to be sent whose line is missing."""
        if self._spool is None or self._file is None:
            return
        for waiting in self._spool.unwritten(self._file.path):
            if not self._file.holds(waiting.id):
                self._file.append(waiting.line)
            self._spool.written(waiting.id)


class DetectEvents:
    """Takes the results of `detect`, of which images are passed over.

    Args:
        watcher: Takes what is in them.
        cameras: A camera's name by that of its source; the first is that of the watcher.
    """

    def __init__(self, watcher: Watcher, cameras: Mapping[str, str]) -> None:
        self._watcher, self._cameras = watcher, cameras
        self._source = next(iter(cameras))

    def write(self, result: Result) -> None:
        """Go on with one frame."""
        if result.frame is None or result.seconds is None:
            return
        if result.source.name != self._source:  # of the same camera, it may be
            self._watcher.go_over_to(self._cameras[result.source.name])
        self._source = result.source.name
        found, zone_xy = result.detections, result.zone_xy
        self._watcher.see(result.image_rgb, found, result.seconds, result.captured, zone_xy)

    def close(self) -> None:
        """End the events that go on."""
        self._watcher.close()


class LiveEvents:
    """Takes the results of `webcam`.

    Args:
        watcher: Takes what is in them.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def write(self, result: FrameResult) -> None:
        """Go on with one frame."""
        frame = result.frame
        found, zone_xy = result.detections, result.zone_xy
        self._watcher.see(frame.image_rgb, found, frame.seconds, frame.captured, zone_xy)

    def close(self) -> None:
        """End the events that go on."""
        self._watcher.close()
