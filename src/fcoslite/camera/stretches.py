"""The frames of cameras, cut where too much time has passed to know who is who."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import numpy as np

from fcoslite.camera.visits import LEAST_SECONDS, Stretch
from fcoslite.data.capture import Capture, capture_of, date_text
from fcoslite.data.dataset import AnnotationTable, ImageRecord, LabelledImage
from fcoslite.errors import DataError

# of frames that follow each other: 11 visits at 0.1 s, of people who walk and stand, are 17 at 0.5 s, and 30 at 1 s,
# because the boxes of one who walks do not overlap any more
MOST_APART_SECONDS = 0.5

_RELABEL = "`fcoslite label` writes both for videos: label the recording again"


def find_stretches(table: AnnotationTable, images: Sequence[LabelledImage]) -> list[Stretch]:
    """The stretches of frames of a data set in which people can be tracked.

    Args:
        table: The data set, whose images say in `date_captured` and `camera` when and by what they were taken.
        images: Those of its images that can be used.

    Returns:
        By camera and time. Images without a time, and those without a neighbour, are in none.

    Raises:
        DataError: There is nothing to track in.
    """
    captures = {image.image_id: _capture(image, table) for image in table.images}
    by_camera: dict[str, list[tuple[datetime, LabelledImage]]] = {}
    for image in images:
        if (capture := captures[image.image_id]) is not None:
            by_camera.setdefault(capture.camera, []).append((capture.captured, image))
    timed = sum(map(len, by_camera.values()))
    if not timed:
        raise DataError(f"{table.path} says of no image when (date_captured) and by what camera it was taken", _RELABEL)
    stretches, apart = [], []
    for camera, frames in sorted(by_camera.items()):
        frames.sort(key=lambda frame: frame[0])
        for (captured, image), (following, other) in pairwise(frames):
            if captured == following:
                message = f"{table.path}: {image.file_name} and {other.file_name} of {camera} are of the same time"
                raise DataError(f"{message}, {date_text(captured)}", "date_captured needs fractions of a second")
            apart.append((following - captured).total_seconds())
        stretches += [_stretch(camera, part) for part in _cut(frames)]
    long_enough = [stretch for stretch in stretches if stretch.length >= LEAST_SECONDS]
    if not long_enough:
        raise _nothing_to_track(table, timed, apart)
    return long_enough


def _capture(image: ImageRecord, table: AnnotationTable) -> Capture | None:
    try:
        return capture_of(image.camera, image.date_captured)
    except ValueError:
        message = f"{table.path}: date_captured of {image.file_name} is {image.date_captured[:100]!r}"
        raise DataError(message, "write it like 2026-11-28T22:41:03.120Z") from None


def _cut(frames: Sequence[tuple[datetime, LabelledImage]]) -> list[list[tuple[datetime, LabelledImage]]]:
    parts = [[frames[0]]]
    for before, frame in pairwise(frames):
        if (frame[0] - before[0]).total_seconds() > MOST_APART_SECONDS:
            parts.append([])
        parts[-1].append(frame)
    return parts


def _stretch(camera: str, frames: Sequence[tuple[datetime, LabelledImage]]) -> Stretch:
    first = frames[0][0]
    seconds = tuple((captured - first).total_seconds() for captured, _ in frames)
    return Stretch(camera, tuple(image for _, image in frames), seconds, first)


def _nothing_to_track(table: AnnotationTable, timed: int, apart: Sequence[float]) -> DataError:
    if not apart:
        frames = "one frame" if timed == 1 else f"{timed} frames, each of another camera"
        return DataError(f"{table.path} has {frames}", "a visit is told by frames of one camera that follow each other")
    hint = f"a visit is told by frames at most {MOST_APART_SECONDS:g} s apart, for a second at least: label with a "
    return DataError(
        f"{table.path}: nobody can be followed through frames {float(np.median(apart)):,.3g} s apart, their median",
        f"{hint}smaller --every, or frames from a recording",
    )
