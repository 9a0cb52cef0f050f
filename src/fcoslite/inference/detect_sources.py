"""Detection on many sources, images and videos, into files: what `fcoslite detect` does."""

import logging
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fcoslite.data.images import UnusableImageError, UnwritableImageError, read_image
from fcoslite.detections.detections import Detections
from fcoslite.errors import ConfigError, DataError, SourceError, closest
from fcoslite.inference.detect import Predicts, detect_each
from fcoslite.inference.input.frame_source import Frame
from fcoslite.inference.input.listing import Listed
from fcoslite.inference.input.open import open_source
from fcoslite.inference.tracking import Crossings, LineCounter, Tracker, Tracking
from fcoslite.machine.threads import map_in_order
from fcoslite.progress import Progress, no_progress

logger = logging.getLogger("fcoslite.inference")


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in one image or frame.

    Attributes:
        source: The image, video or stream.
        image_rgb: [h, w, 3] uint8.
        detections: In its pixels.
        frame: Number in the video, from 0; None for an image.
        seconds: Since the video's first frame; None for an image.
        fps: Frames that come in a second of the video, where known.
        crossings: Of a line, so far in the video, if they are counted.
    """

    source: Listed
    image_rgb: np.ndarray
    detections: Detections
    frame: int | None = None
    seconds: float | None = None
    fps: float | None = None
    crossings: Crossings | None = None


class ResultWriter(Protocol):
    """Something results are written to."""

    def write(self, result: Result) -> None:
        """Add one result."""

    def close(self) -> None:
        """Complete what was written."""


@dataclass(frozen=True)
class Unreadable:
    """A source, or the rest of one, that could not be read."""

    name: str
    reason: str


@dataclass(frozen=True)
class Unwritten:
    """A source that was detected on, and whose picture could not be written."""

    name: str
    reason: str


@dataclass
class Summary:
    """What was done.

    Attributes:
        images: That the model saw.
        frames: Of videos and streams, that it saw.
        detections: Boxes in all of them.
        by_class: Boxes by class.
        with_detections: Images and frames with a box.
        tracked: By video, how many were given a number, if they are tracked.
        crossings: By video, of the line, if they are counted.
        unreadable: What could not be read.
        unwritten: Whose picture could not be written.
    """

    images: int = 0
    frames: int = 0
    detections: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    with_detections: int = 0
    tracked: dict[str, int] = field(default_factory=dict)
    crossings: dict[str, Crossings] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    unwritten: list[Unwritten] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "by_class": dict(self.by_class)}

    def _add(self, result: Result) -> None:
        if result.frame is None:
            self.images += 1
        else:
            self.frames += 1
        names = result.detections.class_names
        self.by_class.update(names[class_id - 1] for class_id in result.detections.class_ids)
        self.detections += len(result.detections)
        self.with_detections += len(result.detections) > 0
        if result.frame is not None and result.detections.track_ids is not None:
            most = int(result.detections.track_ids.max(initial=0))
            self.tracked[result.source.name] = max(most, self.tracked.get(result.source.name, 0))
        if result.crossings is not None:
            self.crossings[result.source.name] = result.crossings

    def _leave_out(self, name: str, reason: str) -> None:
        self.unreadable.append(Unreadable(name, reason))
        logger.warning("cannot be read: %s: %s", name, reason)

    def _go_without(self, name: str, error: UnwritableImageError) -> None:
        self.unwritten.append(Unwritten(name, error.reason))
        logger.warning("cannot be written: %s: %s; %s", name, error.reason, error.hint)


def chosen_class_ids(classes: Sequence[str], class_names: Sequence[str]) -> tuple[int, ...]:
    """The ids of classes by name; all of them where none is named.

    Raises:
        ConfigError: The detector does not know one.
    """
    for name in classes:
        if name not in class_names:
            hint = closest(name, list(class_names)) or f"it knows {', '.join(class_names)}"
            raise ConfigError(f"the detector knows no class '{name}'", hint)
    return tuple(number for number, name in enumerate(class_names, start=1) if not classes or name in classes)


def detect_sources(
    sources: Sequence[Listed],
    predictor: Predicts,
    class_ids: Sequence[int],
    writers: Sequence[ResultWriter],
    every: int = 1,
    tracking: Tracking | None = None,
    progress: Progress = no_progress,
) -> Summary:
    """Detect on every image, and on each n-th frame of every video, and hand results to writers, in order.

    Writers are closed when this returns, and also when it raises.

    Args:
        sources: From `list_sources`.
        predictor: The model.
        class_ids: Boxes of other classes are dropped.
        writers: Where results go.
        every: Of videos and streams take each n-th frame.
        tracking: Track what moves in videos and streams; None: each frame is by itself.
        progress: Told of every image and frame.

    Returns:
        Counts, and what could not be read or written.

    Raises:
        SourceError: Nothing at all could be read.
        DataError: Nothing at all could be written.
        FcosliteError: Something cannot be written.
        KeyboardInterrupt: Ctrl-C.
    """
    summary = Summary()
    with ExitStack() as stack:
        for writer in writers:
            stack.callback(writer.close)
        results = stack.enter_context(closing(_results(sources, predictor, every, summary, progress)))
        wanted = (_only(result, class_ids) for result in results)
        for result in wanted if tracking is None else track(wanted, tracking):
            summary._add(result)
            for writer in writers:
                try:
                    writer.write(result)
                except UnwritableImageError as error:  # the others can be
                    summary._go_without(result.source.name, error)
    if summary.unreadable and not summary.images and not summary.frames:
        first = summary.unreadable[0]
        count = len(summary.unreadable)
        more = f", and {count - 1} more" if count > 1 else ""
        raise SourceError(f"nothing could be read: {first.name}: {first.reason}{more}", "open one in a viewer")
    if summary.unwritten and len(summary.unwritten) == summary.images + summary.frames:
        lost = summary.unwritten[0]
        raise DataError(f"no picture could be written: {lost.name}: {lost.reason}", "give the files other suffixes")
    return summary


def _only(result: Result, class_ids: Sequence[int]) -> Result:
    return replace(result, detections=result.detections.take(np.isin(result.detections.class_ids, class_ids)))


def track(results: Iterable[Result], tracking: Tracking) -> Iterator[Result]:
    """The same results, what moves in each video numbered and counted; of images what scores enough."""
    tracker, counter, of = Tracker(tracking.score), None, ""
    for result in results:
        found = result.detections
        if result.frame is None or result.seconds is None:
            yield replace(result, detections=found.take(found.scores >= tracking.score))
            continue
        if result.source.name != of:
            of, tracker = result.source.name, Tracker(tracking.score)
            counter = None if tracking.line is None else LineCounter(tracking.line)
        found = tracker.update(found, result.seconds)
        if counter is not None:
            counter.update(found)
        yield replace(result, detections=found, crossings=None if counter is None else counter.crossings)


def _results(
    sources: Sequence[Listed], predictor: Predicts, every: int, summary: Summary, progress: Progress
) -> Generator[Result, None, None]:
    for moves, group in groupby(sources, key=lambda source: source.moves):
        if not moves:
            yield from _results_of_images(list(group), predictor, summary, progress)
            continue
        for source in group:
            yield from _results_of_video(source, predictor, every, summary, progress)


def _results_of_images(
    sources: Sequence[Listed], predictor: Predicts, summary: Summary, progress: Progress
) -> Generator[Result, None, None]:
    def detect(source: Listed) -> tuple[Listed, Result | str]:
        try:
            image_rgb = read_image(Path(source.text))
        except UnusableImageError as error:
            return source, error.reason
        return source, Result(source, image_rgb, predictor.predict(image_rgb))

    with progress("detecting", len(sources), "images") as advance:
        for source, result in map_in_order(detect, sources, predictor.at_once, ahead=1):
            if isinstance(result, str):
                summary._leave_out(source.name, result)
            else:
                yield result
            advance(1)


def _results_of_video(
    source: Listed, predictor: Predicts, every: int, summary: Summary, progress: Progress
) -> Generator[Result, None, None]:
    try:
        opened = open_source(source.text)
    except SourceError as error:
        summary._leave_out(source.name, error.message)
        return
    with opened:
        # frames that are left out are not letterboxed either
        if every == 1:
            opened.letterbox_by(predictor.letterbox)
        total = None if opened.count is None else -(-opened.count // every)
        fps = None if opened.fps is None else opened.fps / every
        frames = _every(iter(opened), every)
        at_once = 1 if opened.live else predictor.at_once
        with progress(source.name, total, "frames") as advance:
            try:
                for frame, found in detect_each(frames, predictor, at_once):
                    yield Result(source, frame.image_rgb, found, frame.index, frame.seconds, fps)
                    advance(1)
            except SourceError as error:
                summary._leave_out(source.name, error.message)


def _every(frames: Iterator[Frame], every: int) -> Iterator[Frame]:
    return (frame for frame in frames if frame.index % every == 0)
