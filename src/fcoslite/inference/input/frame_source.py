"""A source of frames, read by a thread of its own so that decoding overlaps with the model.

A live source (a camera, a stream) keeps only its newest frame: the model sees the present, however slow it is. A
file is read a few frames ahead, and no frame of it is skipped.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from fcoslite.errors import SourceError
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.channel import Channel

Kind = Literal["camera", "stream", "video", "image", "folder"]

_READ_AHEAD = 4  # frames; more would only cost memory
_FIRST_FRAME_SECONDS = 15.0  # some USB cameras need ten
_JOIN_SECONDS = 6.0  # a stalled stream has its own time-out of 5 s; a thread that outlives Python aborts it
_WAITING_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        index: Its number in the source, from 0; a live source leaves gaps where frames were dropped.
        image_rgb: [h, w, 3] uint8.
        name: The file's name, the camera or the stream.
        seconds: Since the source's first frame; 0 for images.
        letterboxed: [H, W, 3] uint8 if the source was asked for it in time.
    """

    index: int
    image_rgb: np.ndarray
    name: str
    seconds: float
    letterboxed: np.ndarray | None = None


class FrameSource:
    """An open source: iterate once over its frames, then close it, or use it in `with`.

    Args:
        kind: What it is.
        name: What to call it in messages.
        frames: Yields the frames; consumed in a thread.
        live: It goes on by itself: only the newest frame is kept.
        fps: Frames per second, where known.
        count: Number of frames, where known.
        path: The file or folder, if it is one.
        stopped: Set when it is closed, for frames that wait for something.
        patient: The first frame may take as long as it likes.

    Raises:
        SourceError: It yields no frame.
    """

    def __init__(
        self,
        kind: Kind,
        name: str,
        frames: Generator[Frame, None, None],
        *,
        live: bool = False,
        fps: float | None = None,
        count: int | None = None,
        path: Path | None = None,
        stopped: threading.Event | None = None,
        patient: bool = False,
    ) -> None:
        self.kind = kind
        self.name = name
        self.live = live
        self.fps = fps
        self.count = count
        self.path = path
        self._frames = frames
        self._stopped = stopped or threading.Event()
        self._letterbox: Callable[[int, int], Letterbox] | None = None
        self._channel: Channel[Frame] = Channel(1 if live else _READ_AHEAD, newest=live)
        # It reads from now on: a stream that nobody reads while a model compiles is dropped by its server.
        self._thread = threading.Thread(target=self._read, name=f"fcoslite-{kind}", daemon=True)
        self._thread.start()
        try:
            first = self._channel.peek(_FIRST_FRAME_SECONDS if live and not patient else None)
        except TimeoutError:
            self.close()
            message = f"{name} opened, but gave no picture in {_FIRST_FRAME_SECONDS:.0f} s"
            raise SourceError(message, "is another program using it?") from None
        except BaseException:
            self.close()
            raise
        if first is None:
            raise SourceError(f"{name} holds no frame", "it may be damaged: try it in a video player")
        self.height, self.width = first.image_rgb.shape[:2]

    @property
    def still(self) -> bool:
        """It shows photographs, not motion."""
        return self.kind in ("image", "folder")

    def describe(self) -> str:
        """Kind, name, size, rate and length, for a plan."""
        name = self.name if self.kind == "camera" else f"{self.kind} {self.name}"
        rate = "" if self.fps is None else f", {self.fps:g} frames/s"
        length = "" if self.count is None else f", {self.count} frames"
        return f"{name}, {self.width}x{self.height} pixels{rate}{length}"

    def letterbox_by(self, letterbox: Callable[[int, int], Letterbox]) -> None:
        """From now on letterbox frames where they are read, so that this overlaps with the model, too.

        Args:
            letterbox: From height and width, pixels.
        """
        self._letterbox = letterbox

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(lambda: True)

    def frames(self, waiting: Callable[[], bool]) -> Iterator[Frame]:
        """The frames; while none comes `waiting` is called a few times a second, and ends it if False."""
        while True:
            try:
                self._channel.peek(_WAITING_SECONDS)
            except TimeoutError:
                if not waiting():
                    return
                continue
            frame = self._channel.get()
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        """Stop reading."""
        self._stopped.set()
        self._channel.close()
        self._thread.join(_JOIN_SECONDS)

    def __enter__(self) -> "FrameSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for frame in self._frames:
                if self._letterbox is not None:
                    letterbox = self._letterbox(*frame.image_rgb.shape[:2])
                    frame = replace(frame, letterboxed=letterbox.apply_image(frame.image_rgb))
                if not self._channel.put(frame):
                    break
        except BaseException as raised:  # the consumer's to deal with, whatever it is
            error = raised
        finally:
            self._frames.close()
            self._channel.finish(error)
