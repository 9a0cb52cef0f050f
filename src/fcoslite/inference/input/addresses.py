"""Addresses of streams. User and password stand before the last @: nothing before it is shown, whatever it is."""

import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fcoslite.errors import SourceError
from fcoslite.text import is_like_address, without_user

_PORTS = {"rtsp": 554, "http": 80, "https": 443}
_HINT = "it is rtsp://, http:// or https://, user:password@ if need be, a host, :PORT (up to 65535), and a path"
_ESCAPES = "write / as %2F, ? as %3F, # as %23 and @ as %40 in user and password, and @ as %40 behind the host"


@dataclass(frozen=True)
class StreamAddress:
    """A stream's address.

    Attributes:
        url: What opens it, with user and password; never shown.
        shown: Without user, password and query.
        host: The server.
        port: Its port.
    """

    url: str = field(repr=False)
    shown: str
    host: str
    port: int


def is_address(text: str) -> bool:
    """Whether it is meant to be an address, right or wrong, and no file."""
    return "://" in text or (is_like_address(text) and not os.path.lexists(text))


def parse_address(text: str) -> StreamAddress:
    """Take an address apart.

    Raises:
        SourceError: It is none, or FFmpeg would find another host in it than its author meant.
    """
    if re.search(r"://.*[/?#].*@", text, re.DOTALL):
        # FFmpeg ends the host at the first of these: it would look for the user as a host, and send the password there
        raise SourceError(f"the address {without_user(text)} has a /, ? or # before an @", _ESCAPES)
    if not text.isprintable():  # nor is what is not UTF-8, which makes OpenCV crash
        raise SourceError(f"'{without_user(text)}' is no stream address", "write such characters as %XX: é is %C3%A9")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # the port is none, or a bracket has no partner
        hint = f"{_HINT}; of user and password write [ as %5B, ] as %5D" if "@" in text else _HINT
        raise SourceError(f"'{without_user(text)}' is no stream address", hint) from None
    if not parts.hostname or parts.scheme not in _PORTS or port == 0:
        raise SourceError(f"'{without_user(text)}' is no stream address", _HINT)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return StreamAddress(text, shown, parts.hostname, port or _PORTS[parts.scheme])
