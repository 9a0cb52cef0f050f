"""A real broker, mosquitto, where it is installed: `apt-get install mosquitto`, `brew install mosquitto`."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

PATIENCE = 120.0  # seconds


def find_mosquitto() -> str | None:
    """The program; Debian has it where only root looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


def needs_mosquitto() -> pytest.MarkDecorator:
    """Skips where it is not installed; `nox -s mqtt` does not let it be skipped."""
    absent = find_mosquitto() is None and "FCOSLITE_MOSQUITTO" not in os.environ
    return pytest.mark.skipif(absent, reason="mosquitto is not installed")


class Mosquitto:
    """A broker that can be stopped and started again, on the same port and with what it has kept.

    Args:
        folder: For its files.
        lines: Of its configuration, beside `listener` and `persistence`.
    """

    def __init__(self, folder: Path, lines: Sequence[str] = ("allow_anonymous true",)) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        kept = [f"listener {self.port} 127.0.0.1", "persistence true", f"persistence_location {folder}/"]
        # root would become the user mosquitto, who may not write here
        user = ["user root"] if sys.platform != "win32" and os.geteuid() == 0 else []
        (folder / "mosquitto.conf").write_text("\n".join([*kept, *user, *lines]) + "\n")
        self.start()

    @property
    def address(self) -> str:
        """Its address, without TLS."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = find_mosquitto()
        assert program is not None, "mosquitto is not installed"
        log = (self._folder / "mosquitto.log").open("ab")
        command = [program, "-c", str(self._folder / "mosquitto.conf"), "-v"]
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        wait_for(lambda: answers(self.port))

    def stop(self) -> None:
        """Stop it; it keeps sessions and retained messages on the disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    @property
    def log(self) -> str:
        """What it tells."""
        return (self._folder / "mosquitto.log").read_text("utf-8", errors="replace")


class Listener:
    """Hears everything, in a session that outlives broker and network.

    What the broker got once, and repeats because our answer to it was lost, is told by MQTT itself and heard once.

    Attributes:
        heard: Topic, payload and whether it was retained, in order.
    """

    def __init__(self, port: int, user: str | None = None, password: str | None = None, ca: Path | None = None) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self.heard: list[tuple[str, str, bool]] = []
        self._messages: set[tuple[int, str]] = set()
        subscribed = threading.Event()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2, client_id="listener", protocol=MQTTProtocolVersion.MQTTv5
        )
        if user is not None:
            client.username_pw_set(user, password)
        if ca is not None:
            client.tls_set(str(ca))
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda *_: client.subscribe("#", qos=1)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._hear
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        client.connect("localhost" if ca else "127.0.0.1", port, clean_start=False, properties=session)
        client.loop_start()
        assert subscribed.wait(PATIENCE)

    def _hear(self, client: Any, data: Any, message: Any) -> None:
        payload = message.payload.decode()
        if not (message.dup and (message.mid, payload) in self._messages):
            self.heard.append((message.topic, payload, message.retain))
        self._messages.add((message.mid, payload))

    def payloads(self, topic: str) -> list[str]:
        """Of one topic, as they came."""
        return [payload for of, payload, _ in list(self.heard) if of == topic]

    def events(self, camera: str) -> list[dict[str, Any]]:
        """Of one camera."""
        return [json.loads(payload) for payload in self.payloads(f"fcoslite/{camera}/event")]

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()


def answers(port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_for(done: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
