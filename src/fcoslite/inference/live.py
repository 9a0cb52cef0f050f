"""Detect on a source from frame to frame: reading, the model and saving overlap, each in threads of its own."""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from fcoslite.errors import FcosliteError
from fcoslite.inference.detect import FrameResult, Predicts, detect_each
from fcoslite.inference.input.frame_source import FrameSource
from fcoslite.inference.output.plan import Output
from fcoslite.inference.output.recorder import Recorder, Writer
from fcoslite.inference.output.writers import ImageWriter, JsonlWriter, VideoWriter
from fcoslite.progress import Progress, no_progress

FPS_FRAMES = 10

logger = logging.getLogger("fcoslite.inference")


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What a run did.

    Attributes:
        frames: Frames the model saw.
        seconds: From the first to the last, with saving, without waiting for keys.
        mean_fps: frames / seconds.
        detections: Boxes in all frames.
        stopped_by: The source's end, the user, or the number of frames asked for.
        save: The drawn video, image or folder, if one was written.
        jsonl: The JSON lines, if written.
    """

    frames: int
    seconds: float
    mean_fps: float
    detections: int
    stopped_by: Literal["end", "key", "limit"]
    save: Path | None
    jsonl: Path | None

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"seconds": round(self.seconds, 3), "mean_fps": round(self.mean_fps, 2)}


class Screen(Protocol):
    """What results are shown on."""

    def show(self, result: FrameResult) -> bool:
        """Show a frame with what is in it; False once the user has ended it."""

    def idle(self) -> bool:
        """Called while nothing comes; False once the user has ended it."""

    def close(self) -> None:
        """The last one was shown."""


class FpsMeter:
    """The frame rate over the last ten frames."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._ticks = deque([clock()], maxlen=FPS_FRAMES + 1)

    def tick(self) -> float:
        """Count a frame; returns frames per second."""
        self._ticks.append(self._clock())
        return (len(self._ticks) - 1) / max(self._ticks[-1] - self._ticks[0], 1e-9)


def run_live(
    source: FrameSource,
    predictor: Predicts,
    output: Output,
    screen: Screen | None = None,
    *,
    max_frames: int | None = None,
    progress: Progress = no_progress,
) -> LiveResult:
    """Detect on every frame of a source until it ends or the user does.

    Files are complete and closed when this returns, and also when it raises.

    Args:
        source: An open source; the caller closes it.
        predictor: The model.
        output: The files that results are saved to, such as `plan_output` decides.
        screen: What they are shown on, if anything; it is closed.
        max_frames: Stop after this many.
        progress: Told of every frame.

    Raises:
        FcosliteError: Something cannot be read or written.
        KeyboardInterrupt: Ctrl-C.
    """
    total = min((count for count in (source.count, max_frames) if count is not None), default=None)
    frames = found = 0
    waited_seconds = 0.0
    stopped_by: Literal["end", "key", "limit"] = "end"

    def waiting() -> bool:
        nonlocal stopped_by
        if screen is not None and not screen.idle():
            stopped_by = "key"
        return stopped_by == "end"

    started = time.perf_counter()
    meter = FpsMeter()
    try:
        with ExitStack() as stack:
            recorder = stack.enter_context(Recorder(_writers(output, source)))
            if screen is not None:
                stack.callback(screen.close)
            advance = stack.enter_context(progress("Detecting", total, "frames"))
            source.letterbox_by(predictor.letterbox)
            given = islice(source.frames(waiting), max_frames)
            at_once = 1 if source.live else predictor.at_once
            for frame, detections in stack.enter_context(closing(detect_each(given, predictor, at_once))):
                fps = meter.tick()
                result = FrameResult(frame, detections, None if source.still else fps)
                recorder.put(result)
                frames += 1
                found += len(detections)
                advance(1, f"FPS {fps:.1f}")
                if screen is not None:
                    shown = time.perf_counter()
                    going_on = screen.show(result)
                    waited_seconds += time.perf_counter() - shown if source.still else 0.0
                    if not going_on:
                        stopped_by = "key"
                        break
                if frames == max_frames:
                    stopped_by = "limit"
                    break
    except (KeyboardInterrupt, FcosliteError):
        logger.info("stopped after %d frames; what was saved is complete", frames)
        raise
    seconds = time.perf_counter() - started - waited_seconds
    return LiveResult(frames, seconds, frames / max(seconds, 1e-9), found, stopped_by, output.save, output.jsonl)


def _writers(output: Output, source: FrameSource) -> list[Writer]:
    writers: list[Writer] = []
    if output.save is not None and source.still:
        writers.append(ImageWriter(output.save, folder=source.kind == "folder"))
    elif output.save is not None:
        writers.append(VideoWriter(output.save, source.fps))
    if output.jsonl is not None:
        writers.append(JsonlWriter(output.jsonl))
    return writers
