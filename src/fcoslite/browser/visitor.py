"""A browser that has a page open."""

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any

_log = logging.getLogger("fcoslite")


class NotUnderstood(Exception):
    """A message that our own page does not send."""


@dataclass(eq=False)
class Visitor:
    """A browser that has the page open.

    Attributes:
        websocket: To it.
        sending: Held while a message, or a pair of them, is sent.
    """

    websocket: Any
    sending: asyncio.Lock = field(default_factory=asyncio.Lock, kw_only=True)

    async def send(self, message: dict[str, Any], picture: bytes | None = None) -> None:
        """Send a message, and a picture right after it; to one that has gone away, nothing."""
        try:
            async with self.sending:
                await self.websocket.send_text(json.dumps(message))
                if picture is not None:
                    await self.websocket.send_bytes(picture)
        except Exception as error:  # however a broken connection tells: the receiving side ends the visit
            _log.debug("the browser cannot be reached: %r", error)

    async def close(self, code: int) -> None:
        """Send it away; `code` is RFC 6455's, or one of 4000 to 4999, which are free for use."""
        try:
            await self.websocket.close(code)
        except Exception as error:  # it was closed already, or the connection is broken, however that tells
            _log.debug("the browser was gone: %r", error)
