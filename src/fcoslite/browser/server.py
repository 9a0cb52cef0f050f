"""A server of one page and its WebSocket, for whoever has its address and nobody else."""

import asyncio
import errno
import logging
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket

from fcoslite.browser.visitor import NotUnderstood
from fcoslite.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_MESSAGE_BYTES = 4 << 20  # a JPEG of 1280 pixels has some 200,000

_POLICY_VIOLATED = 1008  # RFC 6455, 7.4.1
_START_SECONDS = 20.0
_STOP_SECONDS = 5.0

_log = logging.getLogger("fcoslite")

Visit = Callable[[WebSocket], Awaitable[None]]


class Server:
    """Serves the page, in a thread of its own; it listens from the start.

    The address holds a random token, without which nothing is served. A page of another origin, and one that reaches
    this machine under another's name, are refused.

    Args:
        html: The page; `{nonce}` stands where its styles and scripts name the one they are allowed by.
        host: The name or number to listen at.
        port: 0 for any that is free.
        permissions: Of the page, as `Permissions-Policy` has them.
        visit: Called with each WebSocket, accepted; it is closed when this returns or raises NotUnderstood.

    Attributes:
        address: Of the page.
        loop: The event loop of the thread, once it is started.

    Raises:
        ConfigError: Nothing can listen there.
    """

    def __init__(self, html: str, host: str, port: int, permissions: str, visit: Visit) -> None:
        self._socket = _listen(host, port)
        if host not in LOOPBACK:
            _log.warning(
                "%s is open to the network: who has the address sees the pictures, which travel as they are; `ssh -L` "
                "is the better way",
                host,
            )
        token = secrets.token_urlsafe(24)
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        self.address = f"http://{shown}:{self._socket.getsockname()[1]}/{token}/"
        self.loop: asyncio.AbstractEventLoop
        self._server = uvicorn.Server(
            uvicorn.Config(
                _app(html, token, LOOPBACK if host in LOOPBACK else None, permissions, visit),
                access_log=False,  # addresses are secrets
                log_config=None,
                log_level="critical",
                lifespan="off",
                server_header=False,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_max_queue=2,
                limit_concurrency=32,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fcoslite-page", daemon=True)
        self._started = threading.Event()

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self._started.wait(_START_SECONDS)

    def stop(self) -> None:
        """Close what is open, and end."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._socket.close()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.call_soon(self._started.set)
        await self._server.serve(sockets=[self._socket])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} is in use", "--port 0 takes one that is free") from None
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen at {host}, port {port}: {reason}", "--host 127.0.0.1 is this machine"
        ) from None


def _app(html: str, token: str, hosts: tuple[str, ...] | None, permissions: str, visit: Visit) -> FastAPI:
    """The page at /TOKEN/ and its socket; `hosts` are the names this machine may be called by, None for any."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False

    def knows(given: str, host: str | None) -> bool:
        named = urlsplit(f"//{host}").hostname
        return secrets.compare_digest(given.encode(), token.encode()) and (hosts is None or named in hosts)

    @app.get("/{given}/")
    def page(given: str, request: Request) -> Response:
        if not knows(given, request.headers.get("host")):
            return Response(status_code=404)
        nonce = secrets.token_urlsafe(16)
        headers = {
            "Content-Security-Policy": f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "connect-src 'self'; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "Permissions-Policy": permissions,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        return Response(html.replace("{nonce}", nonce), media_type="text/html", headers=headers)

    @app.websocket("/{given}/socket")
    async def socket(websocket: WebSocket, given: str) -> None:
        host, origin = websocket.headers.get("host"), websocket.headers.get("origin")
        if not knows(given, host) or origin is None or urlsplit(origin).netloc.lower() != str(host).lower():
            await websocket.close(_POLICY_VIOLATED)
            return
        await websocket.accept()
        try:
            await visit(websocket)
        except NotUnderstood as error:
            _log.warning("the browser was sent away: %s", error)
            with suppress(RuntimeError):  # it was closed already
                await websocket.close(_POLICY_VIOLATED)

    return app
