"""A page that one browser has at a time: who has it, what it is told, and how it ends."""

import asyncio
import json
import logging
import threading
from concurrent.futures import Future
from contextlib import suppress
from importlib.resources import files
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from fcoslite.browser.visitor import NotUnderstood, Visitor
from fcoslite.errors import FcosliteError

_OPENED_ELSEWHERE = 4001  # page.js knows it
_GOODBYE_SECONDS = 2.0  # for a browser that does not listen any more

_log = logging.getLogger("fcoslite")

_Visitor = TypeVar("_Visitor", bound=Visitor)


def check_browser() -> None:
    """See that what a page needs is installed.

    Raises:
        FcosliteError: It is not.
    """
    for package in ("fastapi", "uvicorn", "websockets"):
        if find_spec(package) is None:
            message = f"for a page in the browser the package {package} is needed"
            raise FcosliteError(message, 'pip install "fcoslite[browser]"')


class Page(Generic[_Visitor]):
    """A page that one browser has at a time, the one that came last; to be used in `with`.

    A subclass says what a browser is told first, and what its messages do. Messages are JSON objects with a `type`, in
    both directions; `stop`, `end` and `problem` are the same for all pages.

    Args:
        package: Has the page as page.html, with `{page.css}` and `{page.js}` where those of this room come in.
        host: The name or number to listen at.
        port: 0 for any that is free.
        permissions: Of the page, as `Permissions-Policy` has them.

    Attributes:
        address: Of the page; a secret.
        visitor: The browser that has it, if one has.
        stopped: The user has ended it, on the page.
        changed: Notified when one of the two changes.

    Raises:
        ConfigError: Nothing can listen there.
    """

    def __init__(self, package: str, host: str, port: int, permissions: str = "camera=()") -> None:
        from fcoslite.browser.server import Server

        self._server = Server(_html(package), host, port, permissions, self._visit)
        self.address = self._server.address
        self.visitor: _Visitor | None = None
        self.stopped = False
        self.changed = threading.Condition()
        self._closed = False

    async def greet(self, websocket: Any) -> _Visitor:
        """Tell a browser that has opened the page what it starts from."""
        raise NotImplementedError

    async def leave(self, visitor: _Visitor) -> None:
        """A browser has gone away."""

    async def take(self, visitor: _Visitor, content: bytes) -> None:
        """Take bytes of a browser.

        Raises:
            NotUnderstood: Our page does not send such.
        """
        raise NotUnderstood("it sent a picture where none is asked for")

    async def obey(self, visitor: _Visitor, kind: str, message: dict[str, Any]) -> None:
        """Do what a message of a browser asks for; an FcosliteError is shown on the page.

        Raises:
            NotUnderstood: Our page does not send such.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Tell the browser that it is over, and serve no more."""
        if self._closed:
            return
        self._closed = True
        if self.visitor is not None:
            done = self.post(self.visitor, {"type": "end"})
            with suppress(TimeoutError):  # it may not listen any more
                done.result(_GOODBYE_SECONDS)
        self._server.stop()

    def post(self, visitor: _Visitor, message: dict[str, Any], picture: bytes | None = None) -> Future[None]:
        """Send from another thread than the server's."""
        return asyncio.run_coroutine_threadsafe(visitor.send(message, picture), self._server.loop)

    async def _visit(self, websocket: Any) -> None:
        visitor = await self.greet(websocket)
        with self.changed:
            before, self.visitor = self.visitor, visitor
            self.changed.notify_all()
        _log.info("a browser has the page open")
        if before is not None:
            await before.close(_OPENED_ELSEWHERE)
        try:
            while (message := await websocket.receive())["type"] == "websocket.receive":
                if (content := message.get("bytes")) is not None:
                    await self.take(visitor, content)
                else:
                    await self._hear(visitor, message["text"])
        finally:
            await self.leave(visitor)
            with self.changed:
                left = self.visitor is visitor
                if left:
                    self.visitor = None
            if left and not self.stopped and not self._closed:
                _log.info("the browser went away; the page is still there: %s", self.address)

    async def _hear(self, visitor: _Visitor, text: str) -> None:
        try:
            message = json.loads(text)
            kind = message.get("type")
        except (ValueError, AttributeError, RecursionError):
            raise NotUnderstood("it sent no message") from None
        if kind == "stop":
            with self.changed:
                self.stopped = True
                self.changed.notify_all()
            return
        try:
            await self.obey(visitor, str(kind), message)
        except FcosliteError as error:
            await visitor.send(problem(f"{error.message}; {error.hint}"))


def problem(message: str, **more: Any) -> dict[str, Any]:
    """What a page is told where something is wrong."""
    return {"type": "problem", "message": message, **more}


def _html(package: str) -> str:
    html = files(package).joinpath("page.html").read_text("utf-8")
    for name in ("page.css", "page.js"):
        html = html.replace(f"{{{name}}}\n", files("fcoslite.browser").joinpath(name).read_text("utf-8"))
    return html
