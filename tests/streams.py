"""Cameras on the network, served from this machine, that die and come back."""

import http.server
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SESSION = "Session: 1"


def numbered(photograph_bgr: np.ndarray, number: int) -> np.ndarray:
    """The photograph with its number, 0 to 30, as the brightness of the upper left corner."""
    image = photograph_bgr.copy()
    image[:64, :64] = 8 * number + 4
    return image


def number_of(image_rgb: np.ndarray) -> int:
    """Reads the number back."""
    return int(image_rgb[8:56, 8:56].mean() // 8)


def jpeg(image_bgr: np.ndarray) -> bytes:
    """Encoded."""
    return cv2.imencode(".jpg", image_bgr)[1].tobytes()


class NetworkCamera:
    """A server that can be killed and started again on the same port.

    Args:
        handler: Serves one connection; it is given this object as `server.camera`.
        scheme: Of its address.
    """

    def __init__(self, handler: type[socketserver.StreamRequestHandler], scheme: str) -> None:
        self.sent = 0  # pictures, by all its lives
        self._handler = handler
        self._scheme = scheme
        self._port = 0
        self._server: Any = None
        self._connections: list[socket.socket] = []
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self._scheme}://127.0.0.1:{self._port}/camera"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self._port), self._handler)
        self._server.daemon_threads = True
        self._server.camera = self
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def serves(self, connection: socket.socket) -> None:
        """Called by the handler."""
        self._connections.append(connection)

    def die(self) -> None:
        """Close every connection and the port."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self._connections:
            with suppress(OSError):  # gone already
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()


class MjpegCamera(NetworkCamera):
    """Motion JPEG over HTTP.

    Args:
        part: The bytes of picture number n; an IndexError ends the connection.
        seconds: Between pictures.
        stall: After the last picture keep the connection for so many seconds.
    """

    def __init__(self, part: Callable[[int], bytes], seconds: float = 0.01, stall: float = 0.0) -> None:
        self.part = part
        self.seconds = seconds
        self.stall = stall
        super().__init__(_MjpegHandler, "http")


class _MjpegHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/camera":
            self.send_error(404)
            return
        camera = self.server.camera  # type: ignore[attr-defined]
        camera.serves(self.connection)
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            while True:
                content = camera.part(camera.sent)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                self.wfile.write(head.encode() + content + b"\r\n")
                camera.sent += 1
                time.sleep(camera.seconds)
        except IndexError:
            time.sleep(camera.stall)
        except OSError:
            pass  # the reader has left

    def log_message(self, *arguments: object) -> None:
        pass


class RtspCamera(NetworkCamera):
    """An MPEG transport stream over RTSP and TCP (RFC 2326, section 10.12).

    Args:
        video: A .ts file with one video in it; at its end the connection ends.
        seconds: Between pictures.
    """

    def __init__(self, video: Path, seconds: float = 0.01) -> None:
        self.packets = _packets(video.read_bytes())
        self.seconds = seconds
        super().__init__(_RtspHandler, "rtsp")


class _RtspHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.server.camera.serves(self.connection)  # type: ignore[attr-defined]
        try:
            while request := self._request():
                self._answer(*request)
        except OSError:
            pass  # the reader has left

    def _request(self) -> tuple[str, str, dict[str, str]] | None:
        lines = []
        while line := self.rfile.readline().decode().strip():
            lines.append(line)
        if not lines:
            return None
        method, url, _ = lines[0].split()
        headers = dict(line.split(": ", 1) for line in lines[1:])
        return method, url, {name.lower(): value for name, value in headers.items()}

    def _answer(self, method: str, url: str, headers: dict[str, str]) -> None:
        head = ["RTSP/1.0 200 OK", f"CSeq: {headers['cseq']}"]
        body = ""
        if method == "OPTIONS":
            head.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"
            head += [f"Content-Base: {url}/", "Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP" and "TCP" not in headers["transport"]:
            head[0] = "RTSP/1.0 461 Unsupported transport"
        elif method == "SETUP":
            head += [SESSION, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"]
        else:
            head.append(SESSION)
        self.wfile.write("\r\n".join([*head, "", body]).encode())
        if method == "PLAY":
            self._play()

    def _play(self) -> None:
        camera = self.server.camera  # type: ignore[attr-defined]
        for number, (packet, pictures) in enumerate(camera.packets):
            rtp = b"\x80\x21" + (number % 65536).to_bytes(2, "big") + bytes(8) + packet
            self.wfile.write(b"$\x00" + len(rtp).to_bytes(2, "big") + rtp)
            camera.sent += pictures
            time.sleep(pictures * camera.seconds)


def write_transport_stream(path: Path, pictures_bgr: Iterable[np.ndarray]) -> None:
    """A .ts file, for an `RtspCamera`."""
    video: Any = None
    for picture_bgr in pictures_bgr:
        if video is None:
            height, width = picture_bgr.shape[:2]
            video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (width, height))
        video.write(picture_bgr)
    video.release()


def _packets(content: bytes) -> list[tuple[bytes, int]]:
    """Packets of 7 x 188 bytes, as RTP carries them, and how many pictures begin in each."""
    packets = [content[start : start + 1316] for start in range(0, len(content), 1316)]
    return [(packet, packet.count(b"\x00\x00\x01\xe0")) for packet in packets]
