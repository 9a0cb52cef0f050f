"""A page of ours as a browser's script meets it: real sockets, no browser."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


@contextmanager
def visit(address: str, **options: Any) -> Iterator[ClientConnection]:
    """Open the socket of the page at this address."""
    parts = urlsplit(address)
    options = {"origin": f"http://{parts.netloc}", "open_timeout": 10, **options}
    with connect(f"ws://{parts.netloc}{parts.path}socket", **options) as socket:
        yield socket


def told(socket: ClientConnection) -> dict[str, Any]:
    message = socket.recv(timeout=20)
    assert isinstance(message, str)
    document = json.loads(message)
    assert isinstance(document, dict)
    return document


def closed_with(socket: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            socket.recv(timeout=20)
    return None if caught.value.rcvd is None else caught.value.rcvd.code


def get(address: str, path: str, host: str | None = None) -> tuple[int, str, dict[str, str]]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("GET", path, headers={"Host": host or parts.netloc})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, {key.lower(): value for key, value in answer.getheaders()}
