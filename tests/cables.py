"""Cables that can be pulled out."""

import socket
import threading
import time
from contextlib import suppress

from tests.ports import free_port


class Cable:
    """A connection to a server that can be pulled out: what is on its way is then lost, in both directions.

    Args:
        port: Of the server.

    Attributes:
        port: To connect to instead.
        cut_at: Once this passes towards the server, the connection ends.
        reaches: Whether that reaches the server, whose answer does not come back in any case.
    """

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.cut_at: bytes | None = None
        self.reaches = True
        self._to = port
        self._server: socket.socket | None = None
        self._sockets: list[socket.socket] = []
        self.plug_in()

    def plug_in(self) -> None:
        """From now on connections are made."""
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def pull_out(self) -> None:
        """Every connection ends, and none is made."""
        assert self._server is not None
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        while self._sockets:
            _close(self._sockets.pop())

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._sockets += [near, far]
            cut = threading.Event()
            for source, target, there in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pass_on, args=(source, target, there, cut), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, there: bool, cut: threading.Event) -> None:
        with suppress(OSError):
            while content := source.recv(4096):
                if there and self.cut_at is not None and self.cut_at in content:
                    self.cut_at = None
                    cut.set()
                    if self.reaches:
                        target.sendall(content)
                        time.sleep(0.3)  # the server works on it
                    break
                if not cut.is_set():
                    target.sendall(content)
        _close(source)
        _close(target)


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
