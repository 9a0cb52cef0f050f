"""Videos and streams opened by OpenCV, read to their end: past damaged pictures, and past the loss of a live one."""

import logging
import threading
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np

from fcoslite.errors import SourceError
from fcoslite.inference.input.frame_source import Frame
from fcoslite.inference.input.recording_clock import RecordingClock

# What ends is told from what is damaged by reading on: after a damaged picture the next ones come, after the end none.
_FAILED_READS = 30  # in a row
_FAILED_SECONDS = 1.0  # a network's or driver's own time-out is longer, and need not be waited for again

_WHOLE = 0.9  # of its length

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0
GIVE_UP_SECONDS = 30.0

logger = logging.getLogger("fcoslite.inference")


def read_recording(capture: Any, name: str, fps: float | None, count: int | None) -> Generator[Frame, None, None]:
    """Every picture of a recording that can be decoded; a warning tells of the others.

    Args:
        capture: An open `cv2.VideoCapture`; it is released at the end.
        name: What to call it.
        fps: Frames per second, where known.
        count: Number of frames, where known.
    """
    index = damaged = 0
    clock = RecordingClock(fps, count)
    try:
        while (found := _next_picture(capture)) is not None:
            skipped, image_rgb = found
            index += skipped
            damaged += skipped
            yield Frame(index, image_rgb, name, clock.seconds(index, capture.get(cv2.CAP_PROP_POS_MSEC)))
            index += 1
    finally:
        capture.release()
    if damaged:
        logger.warning("%s: %d of %d frames are damaged and were left out", name, damaged, index)
    # containers estimate their length, so a few frames less mean nothing; a variable rate has fewer, in the same time
    if count and 0 < index < _WHOLE * count and not clock.reached(_WHOLE):
        logger.warning("%s ends after %d of %d frames: it is damaged or cut off", name, index, count)


def read_live(
    capture: Any, name: str, connect: Callable[[], Any], hint: Callable[[], str], stopped: threading.Event
) -> Generator[Frame, None, None]:
    """The pictures of a camera or stream, which is opened again when it is lost.

    The pauses between the attempts double, up to some seconds.

    Args:
        capture: An open `cv2.VideoCapture`; it is released at the end.
        name: What to call it.
        connect: Opens it again; what it returns need not be open.
        hint: What the user can do when it stays lost.
        stopped: Ends a pause.

    Raises:
        SourceError: It gives no picture at all, or none any more for `GIVE_UP_SECONDS`.
    """
    index = 0
    start = time.monotonic()
    lost: float | None = None  # when
    pause = _FIRST_PAUSE_SECONDS
    try:
        while True:
            found = _next_picture(capture)
            now = time.monotonic()
            if found is not None:
                if lost is not None:
                    logger.warning("%s is back after %.1f s", name, now - lost)
                    lost, pause = None, _FIRST_PAUSE_SECONDS
                skipped, image_rgb = found
                start = start if index else now
                index += skipped
                yield Frame(index, image_rgb, name, now - start, captured=datetime.now(UTC))
                index += 1
                continue
            if index == 0:
                raise SourceError(f"{name} gives no picture", hint())
            if lost is None:
                lost = now
                logger.warning("%s is lost after %d frames; trying again for %g s", name, index, GIVE_UP_SECONDS)
            elif now - lost > GIVE_UP_SECONDS:
                raise SourceError(f"{name} was lost after {index} frames, and stayed away", hint())
            capture.release()  # a camera can be opened only once
            if stopped.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            capture = connect()
    finally:
        capture.release()


def _next_picture(capture: Any) -> tuple[int, np.ndarray] | None:
    """The next picture [h, w, 3] RGB that can be decoded, after how many that cannot; None at the end."""
    began = time.monotonic()
    for failed in range(_FAILED_READS):
        good, image_bgr = capture.read()
        if good:
            return failed, cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
        if time.monotonic() - began > _FAILED_SECONDS:
            break
    return None
