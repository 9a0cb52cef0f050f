"""Videos and streams opened by OpenCV, read to their end: past damaged pictures, and past the loss of a live one."""

import logging
import threading
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from math import inf
from typing import Any, NamedTuple

import cv2
import numpy as np

from fcoslite.errors import SourceError
from fcoslite.inference.input.frame_source import Frame
from fcoslite.inference.input.recording_clock import RecordingClock

# What ends is told from what is damaged by reading on: after a damaged picture the next ones come, after the end none.
_FAILED_READS = 30  # in a row
_FAILED_SECONDS = 1.0  # a network's or driver's own time-out is longer, and need not be waited for again

_WHOLE = 0.9  # of its length
_ROUNDED_SECONDS = 1e-3  # containers count milliseconds

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0
_LONGEST_PATIENT_SECONDS = 60.0  # between attempts that are made for ever
GIVE_UP_SECONDS = 30.0

logger = logging.getLogger("fcoslite.inference")


def read_recording(
    capture: Any, name: str, fps: float | None, count: int | None, apart_seconds: float = 0.0
) -> Generator[Frame, None, None]:
    """Every picture of a recording that can be decoded; a warning tells of the others.

    Args:
        capture: An open `cv2.VideoCapture`; it is released at the end.
        name: What to call it.
        fps: Frames per second, where known.
        count: Number of frames, where known.
        apart_seconds: Leave out pictures that are nearer to the one before.
    """
    index = damaged = 0
    seconds, last = 0.0, -inf
    clock = RecordingClock(fps, count)

    def due(before: int) -> bool:
        nonlocal seconds
        seconds = clock.seconds(index + before, capture.get(cv2.CAP_PROP_POS_MSEC))
        return seconds - last >= apart_seconds - _ROUNDED_SECONDS

    try:
        while (found := _next_picture(capture, due)) is not None:
            index += found.passed + found.damaged
            damaged += found.damaged
            last = seconds
            yield Frame(index, found.image_rgb, name, seconds)
            index += 1
    finally:
        capture.release()
    if damaged:
        logger.warning("%s: %d of %d frames are damaged and were left out", name, damaged, index)
    # containers estimate their length, so a few frames less mean nothing; a variable rate has fewer, in the same time
    if count and 0 < index < _WHOLE * count and not clock.reached(_WHOLE):
        logger.warning("%s ends after %d of %d frames: it is damaged or cut off", name, index, count)


def read_live(
    capture: Any,
    name: str,
    connect: Callable[[], Any],
    hint: Callable[[], str],
    stopped: threading.Event,
    apart_seconds: float = 0.0,
    gives_up: bool = True,
) -> Generator[Frame, None, None]:
    """The pictures of a camera or stream, which is opened again when it is lost.

    The pauses between the attempts double, up to some seconds, or to a minute where it never gives up.

    Args:
        capture: An open `cv2.VideoCapture`; it is released at the end.
        name: What to call it.
        connect: Opens it again; what it returns need not be open.
        hint: What the user can do when it stays lost.
        stopped: Ends a pause.
        apart_seconds: Leave out pictures that come sooner after the one before.
        gives_up: On what stays away for `GIVE_UP_SECONDS`.

    Raises:
        SourceError: It gives no picture at all, or, unless it never gives up, none any more.
    """
    index = 0
    start = time.monotonic()
    last = -inf
    longest = _LONGEST_PAUSE_SECONDS if gives_up else _LONGEST_PATIENT_SECONDS
    lost: float | None = None  # when
    pause = _FIRST_PAUSE_SECONDS

    def due(before: int) -> bool:
        return time.monotonic() - last >= apart_seconds

    try:
        while True:
            found = _next_picture(capture, due)
            now = time.monotonic()
            if found is not None:
                if lost is not None:
                    logger.warning("%s is back after %.1f s", name, now - lost)
                    lost, pause = None, _FIRST_PAUSE_SECONDS
                start = start if index else now
                last = now
                index += found.passed + found.damaged
                yield Frame(index, found.image_rgb, name, now - start, captured=datetime.now(UTC))
                index += 1
                continue
            if index == 0:
                raise SourceError(f"{name} gives no picture", hint())
            if lost is None:
                lost = now
                how_long = f"for {GIVE_UP_SECONDS:g} s" if gives_up else "until it is back"
                logger.warning("%s is lost after %d frames; trying again %s", name, index, how_long)
            elif gives_up and now - lost > GIVE_UP_SECONDS:
                raise SourceError(f"{name} was lost after {index} frames, and stayed away", hint())
            capture.release()  # a camera can be opened only once
            if stopped.wait(pause):
                return
            pause = min(2 * pause, longest)
            capture = connect()
    finally:
        capture.release()


class _Picture(NamedTuple):
    """A picture [h, w, 3] RGB, and how many before it were not due, or cannot be decoded."""

    image_rgb: np.ndarray
    passed: int
    damaged: int


def _next_picture(capture: Any, due: Callable[[int], bool]) -> _Picture | None:
    """The next picture that is due and can be decoded; None at the end.

    Args:
        capture: Where from.
        due: Told how many were there before it, says whether the picture is wanted. One that is not takes half the
            time: it has to be decoded for the sake of those after it, but not converted.
    """
    passed = damaged = in_a_row = 0
    began = time.monotonic()
    while in_a_row < _FAILED_READS:
        good = capture.grab()
        if good and not due(passed + damaged):
            passed, in_a_row, began = passed + 1, 0, time.monotonic()
            continue
        if good:
            good, image_bgr = capture.retrieve()
        if good:
            return _Picture(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), passed, damaged)
        damaged, in_a_row = damaged + 1, in_a_row + 1
        if time.monotonic() - began > _FAILED_SECONDS:
            break
    return None
