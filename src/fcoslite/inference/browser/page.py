"""The page in a browser, as what `run_live` knows: a screen, and a camera where no source is named."""

import asyncio
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fcoslite.browser.page import Page, problem
from fcoslite.browser.pictures import jpeg_for_screen
from fcoslite.browser.visitor import NotUnderstood, Visitor
from fcoslite.data.images import UnusableImageError, decode_image
from fcoslite.detections.draw import class_colour
from fcoslite.errors import FcosliteError, SourceError
from fcoslite.inference.adjustable import AdjustablePredictor
from fcoslite.inference.channel import Channel
from fcoslite.inference.detect import FrameResult
from fcoslite.inference.input.frame_source import Frame, FrameSource
from fcoslite.inference.runtimes.open import available_engines, parse_engine

CAMERA = "the browser's camera"

_MAX_PIXELS = 4096 * 4096
_SHOWN_PIXELS = 1280  # the longer side of what is sent to be shown
_WAIT_SECONDS = 0.2  # Ctrl-C is heard between waits


@dataclass(eq=False)
class _Visitor(Visitor):
    """A browser that has the page open.

    Attributes:
        ready: It has shown the last frame of the source, and can take the next.
        under_way: The number of its camera's picture that is being looked at.
    """

    ready: bool = True
    under_way: int | None = None


@dataclass(frozen=True)
class _Picture:
    visitor: _Visitor
    index: int
    content: bytes


class BrowserPage(Page[_Visitor]):
    """Shows results in a browser, gives its camera, and takes changes of thresholds and engine; to be used in `with`.

    No more than one picture is under way: the camera's next one comes when the answer to the last has been drawn, and
    of a source the next one goes when the last has been shown. A recording waits for that, and for a browser at all; a
    live source goes on.

    Args:
        predictor: What is adjusted.
        source: What is shown; None for the browser's camera.
        host: The name or number to listen at.
        port: 0 for any that is free.

    Raises:
        ConfigError: Nothing can listen there.
    """

    def __init__(self, predictor: AdjustablePredictor, source: FrameSource | None, host: str, port: int) -> None:
        super().__init__("fcoslite.inference.browser", host, port, "camera=(self)")
        self._predictor = predictor
        self._source = source
        self._engines = ("auto", *available_engines(predictor.weights))
        self._pictures: Channel[_Picture] = Channel(1, newest=True)
        self._count = 0

    def camera(self) -> FrameSource:
        """The browser's camera, once it has given a picture, however long that takes.

        Raises:
            SourceError: The user stopped it before.
        """
        stopped = threading.Event()
        return FrameSource("camera", CAMERA, self._frames(stopped), live=True, stopped=stopped, patient=True)

    def show(self, result: FrameResult) -> bool:
        """Send what was found, and a source's frame with it; False once the user has stopped it."""
        if self._source is None:
            self._answer(result)
        else:
            visitor = self._ready_visitor(wait=not self._source.live)
            while visitor is not None:
                self.post(visitor, _found(result), jpeg_for_screen(result.frame.image_rgb, _SHOWN_PIXELS))
                if not self._source.still or self._was_seen(visitor):
                    break
                visitor = self._ready_visitor(wait=True)
        return not self.stopped

    def idle(self) -> bool:
        """False once the user has stopped it."""
        return not self.stopped

    def close(self) -> None:
        """Tell the browser that it is over, and serve no more."""
        self._pictures.close()
        super().close()

    def _answer(self, result: FrameResult) -> None:
        """Tell the browser what is in its own picture, if it is still the one that has sent it."""
        visitor = self.visitor
        if visitor is not None and visitor.under_way == result.frame.index:
            visitor.under_way = None
            self.post(visitor, _found(result))

    def _ready_visitor(self, wait: bool) -> _Visitor | None:
        """The browser, from now on no longer ready; None where there is none and nobody waits, or at the end."""
        with self.changed:
            while not self.stopped:
                if self.visitor is not None and self.visitor.ready:
                    self.visitor.ready = False
                    return self.visitor
                if not wait:
                    break
                self.changed.wait(_WAIT_SECONDS)
            return None

    def _was_seen(self, visitor: _Visitor) -> bool:
        """Wait until the user asks for the next picture; False if the browser went away before."""
        with self.changed:
            while not self.stopped and not visitor.ready:
                if self.visitor is not visitor:
                    return False
                self.changed.wait(_WAIT_SECONDS)
            return True

    def _frames(self, stopped: threading.Event) -> Generator[Frame, None, None]:
        start: float | None = None
        while not stopped.is_set():
            if self.stopped and start is None:  # later `idle` tells of it
                raise SourceError(f"{CAMERA} was stopped before its first picture", "open the page again")
            try:
                self._pictures.peek(_WAIT_SECONDS)
            except TimeoutError:
                continue
            picture = self._pictures.get()
            if picture is None:
                return
            try:
                image_rgb = decode_image(picture.content, Path("picture"), max_pixels=_MAX_PIXELS)
            except UnusableImageError as error:
                picture.visitor.under_way = None
                # `again`: the picture under way has no other answer
                self.post(picture.visitor, problem(f"a picture of the camera: {error.reason}", again=True))
                continue
            now = time.monotonic()
            start = now if start is None else start
            yield Frame(picture.index, image_rgb, CAMERA, now - start)

    async def greet(self, websocket: Any) -> _Visitor:
        """Tell it the source, thresholds and engine."""
        visitor = _Visitor(websocket)
        await visitor.send({"type": "state", **self._state()})
        return visitor

    async def take(self, visitor: _Visitor, content: bytes) -> None:
        """Take a picture of the browser's camera."""
        if self._source is not None:
            raise NotUnderstood("it sent a picture where none is asked for")
        if visitor.under_way is not None:
            raise NotUnderstood("it sent a picture before the last was answered")
        visitor.under_way = self._count
        self._count += 1
        self._pictures.put(_Picture(visitor, visitor.under_way, content))

    async def obey(self, visitor: _Visitor, kind: str, message: dict[str, Any]) -> None:
        """Send the source's next frame, or change thresholds or engine."""
        if kind == "shown":
            with self.changed:
                visitor.ready = True
                self.changed.notify_all()
        elif kind == "set":
            try:
                await self._set(message)
            except FcosliteError as error:
                await visitor.send(problem(f"{error.message}; {error.hint}"))
            except ValidationError:
                await visitor.send(problem("score and IoU are from 0 to 1"))
            await visitor.send({"type": "state", **self._state()})
        else:
            raise NotUnderstood(f"it sent a message of the kind {kind[:20]!r}")

    async def _set(self, message: dict[str, Any]) -> None:
        settings = self._predictor.settings
        changes = {key: message[key] for key in ("score", "iou") if key in message}
        self._predictor.set_thresholds(settings.model_validate({**settings.model_dump(), **changes}))
        if "engine" in message:
            # frames wait meanwhile: it is this browser's next message that asks for one
            await asyncio.to_thread(self._predictor.set_engine, parse_engine(str(message["engine"])))

    def _state(self) -> dict[str, Any]:
        source = self._source
        return {
            "source": "camera" if source is None else "still" if source.still else "video",
            "name": CAMERA if source is None else source.name,
            "score": self._predictor.settings.score,
            "iou": self._predictor.settings.iou,
            "engine": self._predictor.engine,
            "engines": self._engines,
            "device": self._predictor.device,
        }


def _found(result: FrameResult) -> dict[str, Any]:
    height, width = result.frame.image_rgb.shape[:2]
    found = result.detections
    boxes = [
        {"box": [round(side, 1) for side in box], "label": label, "colour": "#" + bytes(class_colour(class_id)).hex()}
        for box, label, class_id in zip(found.boxes_xyxy.tolist(), found.labels, found.class_ids.tolist(), strict=True)
    ]
    fps = None if result.fps is None else round(result.fps, 1)
    return {"type": "found", "width": width, "height": height, "fps": fps, "name": result.frame.name, "boxes": boxes}
