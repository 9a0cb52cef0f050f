"""The page in a browser, as what `run_live` knows: a screen, and a camera where no source is named."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

from fcoslite.data.images import UnusableImageError, decode_image, encode_picture
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
_GOODBYE_SECONDS = 2.0  # for a browser that does not listen any more
_POLICY_VIOLATED = 1008  # RFC 6455, 7.4.1
_OPENED_ELSEWHERE = 4001  # 4000 to 4999 are free for use

logger = logging.getLogger("fcoslite.inference")


def check_browser() -> None:
    """See that what the page needs is installed.

    Raises:
        FcosliteError: It is not.
    """
    for package in ("fastapi", "uvicorn", "websockets"):
        if find_spec(package) is None:
            message = f"for a page in the browser the package {package} is needed"
            raise FcosliteError(message, 'pip install "fcoslite[browser]"')


class _NotUnderstood(Exception):
    """A message that our own page does not send."""


@dataclass(eq=False)
class _Visitor:
    """A browser that has the page open.

    Attributes:
        websocket: To it.
        ready: It has shown the last frame of the source, and can take the next.
        under_way: The number of its camera's picture that is being looked at.
        sending: Held while a message, or a pair of them, is sent.
    """

    websocket: Any
    ready: bool = True
    under_way: int | None = None
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class _Picture:
    visitor: _Visitor
    index: int
    content: bytes


class BrowserPage:
    """Shows results in a browser, gives its camera, and takes changes of thresholds and engine; to be used in `with`.

    One browser has it at a time, the one that came last. No more than one picture is under way: the camera's next one
    comes when the answer to the last has been drawn, and of a source the next one goes when the last has been shown. A
    recording waits for that, and for a browser at all; a live source goes on.

    Args:
        predictor: What is adjusted.
        source: What is shown; None for the browser's camera.
        host: The name or number to listen at.
        port: 0 for any that is free.

    Attributes:
        address: Of the page; a secret.

    Raises:
        ConfigError: Nothing can listen there.
    """

    def __init__(self, predictor: AdjustablePredictor, source: FrameSource | None, host: str, port: int) -> None:
        from fcoslite.inference.browser.server import LOOPBACK, Server

        self._predictor = predictor
        self._source = source
        self._server = Server(host, port, self._visit)
        if host not in LOOPBACK:
            logger.warning(
                "%s is open to the network: who has the address sees the pictures, which travel as they are, and a "
                "browser elsewhere gives its camera to no http page; `ssh -L` is the better way",
                host,
            )
        self.address = self._server.address
        self._engines = ("auto", *available_engines(predictor.weights))
        self._changed = threading.Condition()
        self._visitor: _Visitor | None = None
        self._stopped = False
        self._closed = False
        self._pictures: Channel[_Picture] = Channel(1, newest=True)
        self._count = 0

    def __enter__(self) -> "BrowserPage":
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
                self._post(visitor, _found(result), _to_show(result.frame.image_rgb))
                if not self._source.still or self._was_seen(visitor):
                    break
                visitor = self._ready_visitor(wait=True)
        return not self._stopped

    def idle(self) -> bool:
        """False once the user has stopped it."""
        return not self._stopped

    def close(self) -> None:
        """Tell the browser that it is over, and serve no more."""
        if self._closed:
            return
        self._closed = True
        self._pictures.close()
        visitor = self._visitor
        if visitor is not None:
            done = self._post(visitor, {"type": "end"})
            with suppress(TimeoutError):  # it may not listen any more
                done.result(_GOODBYE_SECONDS)
        self._server.stop()

    def _answer(self, result: FrameResult) -> None:
        """Tell the browser what is in its own picture, if it is still the one that has sent it."""
        visitor = self._visitor
        if visitor is not None and visitor.under_way == result.frame.index:
            visitor.under_way = None
            self._post(visitor, _found(result))

    def _ready_visitor(self, wait: bool) -> _Visitor | None:
        """The browser, from now on no longer ready; None where there is none and nobody waits, or at the end."""
        with self._changed:
            while not self._stopped:
                if self._visitor is not None and self._visitor.ready:
                    self._visitor.ready = False
                    return self._visitor
                if not wait:
                    break
                self._changed.wait(_WAIT_SECONDS)
            return None

    def _was_seen(self, visitor: _Visitor) -> bool:
        """Wait until the user asks for the next picture; False if the browser went away before."""
        with self._changed:
            while not self._stopped and not visitor.ready:
                if self._visitor is not visitor:
                    return False
                self._changed.wait(_WAIT_SECONDS)
            return True

    def _frames(self, stopped: threading.Event) -> Generator[Frame, None, None]:
        start: float | None = None
        while not stopped.is_set():
            if self._stopped and start is None:  # later `idle` tells of it
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
                self._post(picture.visitor, _problem(f"a picture of the camera: {error.reason}", again=True))
                continue
            now = time.monotonic()
            start = now if start is None else start
            yield Frame(picture.index, image_rgb, CAMERA, now - start)

    def _post(self, visitor: _Visitor, message: dict[str, Any], picture: bytes | None = None) -> Any:
        """Send from another thread than the server's."""
        return asyncio.run_coroutine_threadsafe(_send(visitor, message, picture), self._server.loop)

    async def _visit(self, websocket: Any) -> None:
        visitor = _Visitor(websocket)
        await _send(visitor, {"type": "state", **self._state()})
        with self._changed:
            before, self._visitor = self._visitor, visitor
            self._changed.notify_all()
        logger.info("a browser has the page open")
        if before is not None:
            await _close(before, _OPENED_ELSEWHERE)
        try:
            while (message := await websocket.receive())["type"] == "websocket.receive":
                if (content := message.get("bytes")) is not None:
                    self._take(visitor, content)
                else:
                    await self._obey(visitor, message["text"])
        except _NotUnderstood as error:
            logger.warning("the browser was sent away: %s", error)
            await _close(visitor, _POLICY_VIOLATED)
        finally:
            with self._changed:
                left = self._visitor is visitor
                if left:
                    self._visitor = None
            if left and not self._stopped and not self._closed:
                logger.info("the browser went away; the page is still there: %s", self.address)

    def _take(self, visitor: _Visitor, content: bytes) -> None:
        if self._source is not None:
            raise _NotUnderstood("it sent a picture where none is asked for")
        if visitor.under_way is not None:
            raise _NotUnderstood("it sent a picture before the last was answered")
        visitor.under_way = self._count
        self._count += 1
        self._pictures.put(_Picture(visitor, visitor.under_way, content))

    async def _obey(self, visitor: _Visitor, text: str) -> None:
        try:
            message = json.loads(text)
            kind = message.get("type")
        except (ValueError, AttributeError, RecursionError):
            raise _NotUnderstood("it sent no message") from None
        if kind == "shown":
            with self._changed:
                visitor.ready = True
                self._changed.notify_all()
        elif kind == "stop":
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
        elif kind == "set":
            try:
                await self._set(message)
            except FcosliteError as error:
                await _send(visitor, _problem(f"{error.message}; {error.hint}"))
            except ValidationError:
                await _send(visitor, _problem("score and IoU are from 0 to 1"))
            await _send(visitor, {"type": "state", **self._state()})
        else:
            raise _NotUnderstood(f"it sent a message of the kind {str(kind)[:20]!r}")

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


def _problem(message: str, again: bool = False) -> dict[str, Any]:
    """`again`: the picture under way has no other answer."""
    return {"type": "problem", "message": message, "again": again}


def _to_show(image_rgb: np.ndarray) -> bytes:
    height, width = image_rgb.shape[:2]
    scale = _SHOWN_PIXELS / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image_rgb = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)
    return encode_picture(image_rgb, ".jpg", jpeg_quality=85)


async def _send(visitor: _Visitor, message: dict[str, Any], picture: bytes | None = None) -> None:
    try:
        async with visitor.sending:
            await visitor.websocket.send_text(json.dumps(message))
            if picture is not None:
                await visitor.websocket.send_bytes(picture)
    except Exception as error:  # whatever a connection that breaks off is told by: the receiving side ends the visit
        logger.debug("the browser cannot be reached: %r", error)


async def _close(visitor: _Visitor, code: int) -> None:
    try:
        await visitor.websocket.close(code)
    except RuntimeError as error:  # it was closed already
        logger.debug("the browser was gone: %s", error)
