"""Detection on frame after frame: the core of everything that detects."""

import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fcoslite.detections.detections import Detections
from fcoslite.detections.draw import draw_detections
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.input.frame_source import Frame
from fcoslite.machine.threads import map_in_order


@dataclass(eq=False)
class FrameResult:
    """What was found in one frame.

    Attributes:
        frame: The frame.
        detections: In its pixels.
        fps: The frame rate to draw; None for still images.
    """

    frame: Frame
    detections: Detections
    fps: float | None
    _drawn: np.ndarray | None = field(default=None, init=False, repr=False)
    _drawing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def draw(self) -> np.ndarray:
        """The frame with boxes and frame rate, [h, w, 3] uint8 RGB: the same array for the screen and for files."""
        with self._drawing:
            if self._drawn is None:
                self._drawn = draw_detections(self.frame.image_rgb, self.detections, self.fps)
            return self._drawn


class Predicts(Protocol):
    """All that is asked of a model here."""

    @property
    def at_once(self) -> int:
        """Images that it is best given at the same time, from threads."""

    def letterbox(self, height: int, width: int) -> Letterbox:
        """How images of these sides, pixels, are letterboxed."""

    def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
        """Detect in an image [h, w, 3] uint8, which may come letterboxed, too."""


def detect_each(
    frames: Iterable[Frame], predictor: Predicts, at_once: int
) -> Generator[tuple[Frame, Detections], None, None]:
    """Frames with what is in them, in order; so many are in the model at a time."""

    def detect(frame: Frame) -> tuple[Frame, Detections]:
        return frame, predictor.predict(frame.image_rgb, frame.letterboxed)

    if at_once == 1:  # here, where no frame waits for the next one to come
        yield from map(detect, frames)
    else:
        yield from map_in_order(detect, frames, at_once, ahead=1)
