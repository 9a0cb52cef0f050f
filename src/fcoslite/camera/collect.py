"""Collect frames worth learning from, of cameras, streams and recordings: what `fcoslite collect` does."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np

from fcoslite.camera.choice import Choice
from fcoslite.camera.clock import WallClock, recording_start
from fcoslite.camera.folder import CollectingFolder, check_folder, collecting_folder
from fcoslite.camera.frames import CameraFrame, Why, frame_file_name
from fcoslite.camera.motion import LOOKS_PER_SECOND, Motion
from fcoslite.camera.sheet import write_sheet
from fcoslite.camera.sources import CameraSource, list_camera_sources
from fcoslite.errors import ConfigError, SourceError
from fcoslite.inference.input.frame_source import FrameSource
from fcoslite.inference.input.open import open_source
from fcoslite.machine.signals import StopRequest
from fcoslite.machine.threads import one_opencv_thread
from fcoslite.progress import Advance, Progress, no_progress

_log = logging.getLogger("fcoslite")

PER_HOUR = 60
MAX_GB = 2.0

_QUIET = timedelta(seconds=10)  # without motion, before a frame counts as quiet
_TICK_SECONDS = 0.5

StoppedBy = Literal["end", "user", "hours", "max-gb"]


@dataclass(frozen=True)
class CollectResult:
    """What was collected.

    Attributes:
        out: The camera's folder.
        sources: What was watched: camera, kind, size and rate of each live one; the number of recordings.
        frames: Frames added.
        moved: Those of them in which something moved.
        quiet: Those in which nothing had moved for a while.
        by_camera: Frames added, by camera.
        all_frames: Frames that the folder holds now.
        megabytes: What its pictures take.
        unreadable: Recordings that could not be read.
        stopped_by: The end of all recordings, the user, or a limit.
        sheet: The contact sheet; None without a frame.
    """

    out: Path
    sources: tuple[str, ...]
    frames: int
    moved: int
    quiet: int
    by_camera: dict[str, int]
    all_frames: int
    megabytes: float
    unreadable: tuple[str, ...]
    stopped_by: StoppedBy
    sheet: Path | None


def collect(
    words: Sequence[str],
    out: Path,
    per_hour: int = PER_HOUR,
    max_gb: float = MAX_GB,
    hours: float | None = None,
    start: datetime | None = None,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> CollectResult:
    """Keep frames in which something moves, unlike those there already, and some in which nothing does.

    Live sources are watched at the same time, recordings one after the other as fast as they can be read. What is in
    the folder is gone on with; a recording that was gone through already adds nothing. A kill loses nothing.

    Args:
        words: Sources as `list_camera_sources` takes them.
        out: The camera's folder; each frame is there whole, with its line in `frames.jsonl`, or not at all.
        per_hour: Most frames of an hour of the day and camera.
        max_gb: Most gigabytes of pictures in the folder, those that are there, too.
        hours: Stop after so many; None: live sources until the user stops it.
        start: When the first recording of each camera began, the others following it; None: each ended when its file
            was last written.
        dry_run: Open the sources, and write nothing.
        progress: Told about every frame that is kept.

    Raises:
        SourceError: A source is not there or shows nothing, or no recording can be read.
        ConfigError: An argument is not allowed.
        DataError: `out` holds something else, or cannot be written any more.
        BusyError: Another process collects into `out`.
        FcosliteError: The disk is full.
    """
    _check_arguments(per_hour, max_gb, hours)
    sources = list_camera_sources(words)
    check_folder(out)
    apart = min(1 / LOOKS_PER_SECOND, 3600 / per_hour)
    recordings = [source for source in sources if source.recording is not None]
    with ExitStack() as stack:
        stack.enter_context(one_opencv_thread())
        live = [
            (source, stack.enter_context(open_source(source.text, apart, gives_up=False)))
            for source in sources
            if source.recording is None
        ]
        for _, opened in live:
            if not opened.live:
                raise SourceError(f"{opened.name} is a recording behind an address", "download it, and name the file")
        told = tuple(f"{source.camera}: {opened.describe()}" for source, opened in live)
        if recordings:
            told += (f"{len(recordings)} recording{'s' * (len(recordings) > 1)}",)
        if dry_run:
            return CollectResult(out, told, 0, 0, 0, {}, 0, 0.0, (), "end", None)
        folder = stack.enter_context(collecting_folder(out, max_gb * 1e9))
        if folder.frames:
            _log.info("going on in %s, which has %d frames", out, len(folder.frames))
        before = len(folder.frames)
        work = _Work(folder, per_hour, {source.camera for source in sources})
        with (
            progress("Collecting", None, "frames") as advance,
            StopRequest("stopping; once more stops at once") as asked,
        ):
            _run(work, live, recordings, apart, start, hours, asked, advance)
        new = folder.frames[before:]
        if len(work.unreadable) == len(sources):
            raise SourceError(f"no recording can be read: {work.unreadable[0]}", "try it in a video player")
        reasons = Counter(frame.why for frame in new)
        return CollectResult(
            out,
            told,
            len(new),
            reasons["moved"],
            reasons["quiet"],
            dict(Counter(frame.camera for frame in new)),
            len(folder.frames),
            round(folder.bytes / 1e6, 1),
            tuple(work.unreadable),
            work.stopped_by,
            write_sheet(out, folder.frames),
        )


def _check_arguments(per_hour: int, max_gb: float, hours: float | None) -> None:
    if per_hour < 1:
        raise ConfigError(f"per_hour is {per_hour}", "it is at least 1")
    if not (isfinite(max_gb) and max_gb > 0):
        raise ConfigError(f"max_gb is {max_gb}", "it is above 0")
    if hours is not None and not (isfinite(hours) and hours > 0):
        raise ConfigError(f"hours is {hours}", "it is above 0")


class _Work:
    """What the threads share."""

    def __init__(self, folder: CollectingFolder, per_hour: int, cameras: set[str]) -> None:
        self.stopped = threading.Event()
        self.stopped_by: StoppedBy = "end"
        self.unreadable: list[str] = []
        self.watchers = {camera: _Watcher(camera, folder, per_hour, self) for camera in cameras}
        self.folder = folder

    def stop(self, reason: StoppedBy) -> None:
        if not self.stopped.is_set():
            self.stopped_by = reason
            self.stopped.set()


class _Watcher:
    """Looks at the frames of one camera, and keeps some."""

    def __init__(self, camera: str, folder: CollectingFolder, per_hour: int, work: _Work) -> None:
        self._camera = camera
        self._folder = folder
        self._work = work
        self._motion = Motion()
        self._choice = Choice(per_hour)
        for frame in folder.frames:
            if frame.camera == camera:
                self._choice.add(frame)
        self._still_since: datetime | None = None
        self._shape: tuple[int, ...] = ()

    def look(self, image_rgb: np.ndarray, captured: datetime) -> None:
        """Look at the next frame."""
        # as it is written, or the choice would be another one after a restart
        captured = captured.replace(microsecond=captured.microsecond // 1000 * 1000)
        self._tell_of_size(image_rgb)
        look = self._motion.look(image_rgb)
        since = self._still_since
        if look.moved or not look.warm or since is None or captured < since:
            since = self._still_since = captured
        if look.moved and self._choice.takes_moved(captured, look.silhouette):
            self._keep(image_rgb, captured, "moved", look.silhouette)
        elif captured - since >= _QUIET and self._choice.takes_quiet(captured):
            self._keep(image_rgb, captured, "quiet", None)

    def _keep(self, image_rgb: np.ndarray, captured: datetime, why: Why, silhouette: int | None) -> None:
        frame = CameraFrame(frame_file_name(self._camera, captured), self._camera, captured, why, silhouette)
        if self._folder.add(frame, image_rgb):
            self._choice.add(frame)
        else:
            self._work.stop("max-gb")

    def _tell_of_size(self, image_rgb: np.ndarray) -> None:
        before, self._shape = self._shape, image_rgb.shape
        if before not in ((), self._shape):
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (self._shape, before)]
            _log.warning("%s: pictures are %s pixels now, not %s: the background is learned anew", self._camera, *sizes)


def _run(
    work: _Work,
    live: Sequence[tuple[CameraSource, FrameSource]],
    recordings: Sequence[CameraSource],
    apart: float,
    start: datetime | None,
    hours: float | None,
    asked: StopRequest,
    advance: Advance,
) -> None:
    """Watch until all recordings have ended, or something stops it; the first error of a thread is raised."""
    deadline = None if hours is None else time.monotonic() + 3600 * hours
    clock = WallClock()
    told = 0
    with ThreadPoolExecutor(len(live) + 1) as pool, _stopping(work):
        pending = {
            pool.submit(_watch_live, opened, work.watchers[source.camera], clock, work) for source, opened in live
        }
        pending.add(pool.submit(_watch_recordings, recordings, apart, start, work))
        while pending:
            done, pending = wait(pending, _TICK_SECONDS, return_when="FIRST_COMPLETED")
            for future in done:
                future.result()
            added = work.folder.added
            advance(added - told, f"{work.folder.bytes / 1e6:,.0f} MB")
            told = added
            if asked.signal_number is not None:
                work.stop("user")
            elif deadline is not None and time.monotonic() > deadline:
                work.stop("hours")


@contextmanager
def _stopping(work: _Work) -> Iterator[None]:
    """Let no thread outlive the block."""
    try:
        yield
    finally:
        work.stopped.set()


def _watch_live(source: FrameSource, watcher: _Watcher, clock: WallClock, work: _Work) -> None:
    for frame in source.frames(lambda: not work.stopped.is_set()):
        if work.stopped.is_set():
            return
        watcher.look(frame.image_rgb, clock.now())


def _watch_recordings(recordings: Sequence[CameraSource], apart: float, start: datetime | None, work: _Work) -> None:
    begins = dict.fromkeys(work.watchers, start)  # when the next recording of each camera began
    for source in recordings:
        assert source.recording is not None
        try:
            with open_source(source.text, apart) as opened:
                length = opened.count / opened.fps if opened.count and opened.fps else 0.0
                if not length and begins[source.camera] is None:
                    hint = "say when that was with --start"
                    raise SourceError(f"{source.recording} does not tell how long it is, nor so when it began: {hint}")
                began = begins[source.camera] or recording_start(source.recording, length)
                seconds = 0.0
                for frame in opened:
                    if work.stopped.is_set():
                        return
                    seconds = frame.seconds
                    work.watchers[source.camera].look(frame.image_rgb, began + timedelta(seconds=seconds))
                if start is not None:
                    begins[source.camera] = began + timedelta(seconds=max(seconds, length))
        except SourceError as error:
            work.unreadable.append(f"{source.recording}: {error.message}")
            _log.warning("cannot be read: %s", error.message)
