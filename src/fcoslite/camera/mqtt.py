"""A camera's state and events to an MQTT broker, in a thread of its own; a broker that is away is waited for.

Nothing is lost and nothing sent twice, whenever the program is killed or the broker goes away, because the broker tells
what it has: this client subscribes to its own events, in a session that outlives the connection. An event that was sent
and not answered is in doubt; when the session is taken up again the broker delivers it, if it has it, and if it does
not, it is sent again. A broker that forgets its sessions (one that restarts without persistence) cannot tell: the one
event in doubt is then sent again, under the same id.
"""

import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fcoslite.camera.broker import PASSWORD, USER, Broker
from fcoslite.camera.spool import Spool
from fcoslite.camera.topics import EVENT_TYPE, OFFLINE, ONLINE, Topics, device_id, discovery_message
from fcoslite.errors import FcosliteError
from fcoslite.text import to_json

_ANSWER_SECONDS = 5.0  # for a broker to answer
_FIRST_SECONDS = 2 * _ANSWER_SECONDS  # for the first connection, which may have to look a name up
_LOOK_SECONDS = 0.1  # between two looks at what there is to send
_KEEPALIVE_SECONDS = 30
_STEADY_SECONDS = 30.0
_SHORT_ONES = 5
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0
_SESSION_SECONDS = 30 * 24 * 3600
# who is back by then was never away: neither a restart nor a short loss of the network shows
_WILL_SECONDS = 5
_CLOSE_SECONDS = 5.0

# of CONNACK, MQTT 5.0, section 2.4
_BAD_LOGIN = (0x86, 0x87)
_COMES_LATER = (0x88, 0x89, 0x8B, 0x8D, 0x97, 0x98, 0x9C, 0x9D, 0x9F)

logger = logging.getLogger("fcoslite.camera")


class _AwayError(Exception):
    """The broker cannot be reached, or has gone."""


class _RefusedError(Exception):
    """The broker does not want us; `error` says why, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.error = FcosliteError(message, hint)


class Publisher:
    """Publishes one camera's state and events. Use it in `with`: leaving it sends what can be sent at once.

    Args:
        broker: Where to.
        camera: Name of the camera.
        spool: The events to send.
    """

    def __init__(self, broker: Broker, camera: str, spool: Spool) -> None:
        self._broker, self._camera, self._spool = broker, camera, spool
        self._count = 0
        self._first: Future[None] = Future()  # of the first try to connect
        self._closing = threading.Event()
        self._failed: FcosliteError | None = None
        self._said = ""  # of a broker that is away
        self._short = 0  # connections in a row that lasted for seconds only
        self._thread = threading.Thread(target=self._run, name="fcoslite-mqtt", daemon=True)

    def start(self) -> None:
        """Connect for the first time. A broker that is away is waited for, and a warning says so.

        Raises:
            FcosliteError: It refuses, or there is no such host.
        """
        self._thread.start()
        try:
            self._first.result(_FIRST_SECONDS)
        except TimeoutError:
            self._first.cancel()
            self._say("it does not answer")

    def show(self, count: int) -> None:
        """How many people there are from now on.

        Raises:
            DataError: The spool cannot be used.
            FcosliteError: The disk is full.
        """
        self._count = count
        if self._failed is not None:
            raise self._failed

    def close(self) -> None:
        """Nobody is there any more; what waits is sent, if the broker is there."""
        self._count = 0
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_SECONDS + 2 * _ANSWER_SECONDS)
        if waiting := len(self._spool):
            logger.warning(
                "%d events wait in %s; they are sent the next time that this camera sends", waiting, self._spool.path
            )

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        try:
            while not self._closing.is_set():
                connection = _Connection(self._broker, self._camera, self._spool)
                began = time.monotonic()
                try:
                    connection.open()
                    self._connected()
                    self._serve(connection)
                except _AwayError as error:
                    self._say(str(error))
                except _RefusedError as error:
                    if not self._first.done():
                        self._first.set_exception(error.error)
                        return
                    self._say(f"{error.error.message} ({error.error.hint})")
                finally:
                    connection.drop()
                if not self._first.done():
                    self._first.set_result(None)
                if time.monotonic() - began > _STEADY_SECONDS:
                    pause, self._short = _FIRST_PAUSE_SECONDS, 0
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        except FcosliteError as error:
            self._failed = error
            if not self._first.done():
                self._first.set_exception(error)
            else:
                logger.error("%s: %s; %s", self._broker.shown, error.message, error.hint)

    def _connected(self) -> None:
        self._short += 1
        if self._short == _SHORT_ONES:
            logger.warning(
                "%s ends the connection again and again: if another program sends as the camera %s, stop it, or give "
                "each camera a name of its own by --camera",
                self._broker.shown,
                self._camera,
            )
        if self._said:
            self._said = ""
            if self._short < _SHORT_ONES:
                logger.warning("%s is back", self._broker.shown)
        if not self._first.done():
            self._first.set_result(None)

    def _say(self, reason: str) -> None:
        if reason != self._said and not self._closing.is_set():
            self._said = reason
            if self._short >= _SHORT_ONES:  # that was said
                return
            logger.warning("%s is away: %s; events wait in %s", self._broker.shown, reason, self._spool.path)

    def _serve(self, connection: "_Connection") -> None:
        while not self._closing.is_set():
            connection.show(self._count)
            connection.send_next()
            connection.turn()
        deadline = time.monotonic() + _CLOSE_SECONDS
        connection.show(0)
        while time.monotonic() < deadline and not connection.send_next():
            connection.turn()
        connection.say_goodbye(deadline)


@dataclass
class _InFlight:
    """An event that was sent, and not answered."""

    id: str
    mid: int


class _Connection:
    """One connection to a broker, from opening it until it is lost; all in one thread."""

    def __init__(self, broker: Broker, camera: str, spool: Spool) -> None:
        self._broker, self._camera, self._spool = broker, camera, spool
        self._topics = Topics(camera)
        self._shown: int | None = None
        self._in_flight: _InFlight | None = None
        self._denied: set[str] = set()  # topics that we may not write to
        self._unheard: set[str] = set()  # and that we may not read
        self._unanswered: dict[int, str] = {}  # topics of messages and subscriptions, by their number
        self._accepted: bool | None = None
        self._resumed = False
        self._echoed = False
        self._reason: ReasonCode | None = None  # why it was refused
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=device_id(camera),
            protocol=MQTTProtocolVersion.MQTTv5,
            # what is to be sent again is ours to say, and a new client has nothing of its own to send
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = _ANSWER_SECONDS
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        will = Properties(PacketTypes.WILLMESSAGE)
        will.WillDelayInterval = _WILL_SECONDS
        client.will_set(self._topics.availability, OFFLINE, qos=1, retain=True, properties=will)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_answer
        client.on_publish = self._on_publish
        client.on_message = self._on_message

    def open(self) -> None:
        """Connect, take up the session, learn what the broker has, and tell it who we are.

        Raises:
            _AwayError: It cannot be reached.
            _RefusedError: It does not want us.
        """
        self._connect()
        try:
            self._wait(lambda: self._accepted is not None)
        except _AwayError as error:
            with_tls = "" if self._broker.tls is not None else " (is it a port for TLS? then write mqtts://)"
            raise _AwayError(f"{error} when we connect{with_tls}") from None
        if not self._accepted:
            raise self._refused()
        for topic in (self._topics.event, self._topics.echo):
            _, mid = self._client.subscribe(topic, qos=1)
            if mid is not None:
                self._unanswered[mid] = topic
        self._wait(lambda: not self._unanswered)
        if self._spool.any_in_doubt():
            if self._resumed and not self._unheard:
                self._hear_what_the_session_holds()
            self._spool.not_sent()
        self._publish(self._topics.discovery, to_json(discovery_message(self._camera)))
        self._publish(self._topics.availability, ONLINE)

    def show(self, count: int) -> None:
        """Tell how many people there are, if that is news."""
        if count == self._shown:
            return
        if self._shown is None or bool(count) != bool(self._shown):
            self._publish(self._topics.person, "ON" if count else "OFF")
        self._publish(self._topics.count, str(count))
        self._shown = count

    def send_next(self) -> bool:
        """Send the oldest event that waits, once the one before was answered; True if none is left."""
        if self._in_flight is not None or self._topics.event in self._denied:
            return False
        waiting = self._spool.next_to_send()
        if waiting is None:
            return True
        message = {"event_type": EVENT_TYPE, **json.loads(waiting.line)}
        self._in_flight = _InFlight(waiting.id, self._publish(self._topics.event, to_json(message), retain=False))
        return False

    def turn(self) -> None:
        """Exchange with the broker what there is to exchange, or wait a little.

        Raises:
            _AwayError: It has gone.
            _RefusedError: What it says is no MQTT 5.
        """
        try:
            code = self._client.loop(_LOOK_SECONDS)
        except (OSError, ValueError) as error:
            raise _AwayError(str(error)) from None
        except FcosliteError:
            raise
        except Exception as error:  # paho has many for what is no MQTT 5
            hint = "MQTT 5 is needed: mosquitto 1.6 or later, or another broker that has it"
            raise _RefusedError(f"{self._broker.shown} answers, and not in MQTT 5: {error}", hint) from None
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise _AwayError("the connection was closed")

    def say_goodbye(self, deadline: float) -> None:
        """Tell that nobody watches any more, and leave; the broker then sends no last will."""
        self._publish(self._topics.availability, OFFLINE)
        while self._unanswered and time.monotonic() < deadline:
            self.turn()
        self._client.disconnect()
        with suppress(_AwayError):  # as it should be
            self.turn()

    def drop(self) -> None:
        """Close the socket, if it is open."""
        connected = self._client.socket()
        if connected is not None:
            connected.close()

    def _connect(self) -> None:
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = _SESSION_SECONDS
        host, port = self._broker.host, self._broker.port
        try:
            self._client.connect(host, port, _KEEPALIVE_SECONDS, clean_start=False, properties=session)
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                raise _RefusedError(f"no host is called {host}", "check the address of --mqtt") from None
            raise _AwayError(error.strerror or str(error)) from None
        except ssl.SSLCertVerificationError as error:
            message = f"the certificate of {self._broker.shown} is not trusted: {error.verify_message}"
            raise _RefusedError(
                message, "name the file of its authority by --mqtt-ca, and the host as it does"
            ) from None
        except (ssl.SSLEOFError, ConnectionResetError) as error:
            if self._broker.tls is None:
                raise _AwayError(str(error)) from None
            raise _AwayError(
                "it ends the connection before TLS begins: is it the port for TLS, 8883 as a rule?"
            ) from None
        except ssl.SSLError as error:
            hint = "is it the port for TLS, 8883 as a rule? without TLS the address begins with mqtt://"
            raise _RefusedError(f"{self._broker.shown} has no TLS there: {error.reason}", hint) from None
        except OSError as error:
            raise _AwayError(error.strerror or str(error) or type(error).__name__) from None

    def _refused(self) -> Exception:
        assert self._reason is not None
        shown, reason = self._broker.shown, self._reason
        if reason.value in _COMES_LATER:
            return _AwayError(str(reason))
        if reason.value in _BAD_LOGIN:
            asked = "user and password" if self._broker.user is None else f"the password of {self._broker.user}"
            hint = f"check {asked}: {USER} and {PASSWORD} in the environment, or the file of --mqtt-login"
            return _RefusedError(f"{shown} refuses the connection: {reason}", hint)
        return _RefusedError(f"{shown} refuses the connection: {reason}", "the broker's log may say more")

    def _wait(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise _AwayError("it does not answer")
            try:
                self.turn()
            except _AwayError:
                if done():  # it was refused, and then closed
                    return
                raise

    def _hear_what_the_session_holds(self) -> None:
        """It comes before what is sent now."""
        mid = self._publish(self._topics.echo, "", retain=False)
        try:
            self._wait(lambda: self._echoed or self._topics.echo in self._denied)
        except _AwayError:
            if mid in self._unanswered:
                raise
            self._cannot_hear(self._topics.echo)  # it took the echo, and keeps it: some brokers deny like that

    def _cannot_hear(self, topic: str) -> None:
        self._unheard.add(topic)
        self._tell_denied(f"read {topic}: an event may come twice after a kill; let it read fcoslite/#")

    def _tell_denied(self, what: str) -> None:
        logger.warning("%s does not let %s %s", self._broker.shown, self._broker.user or "us", what)

    def _publish(self, topic: str, payload: str, retain: bool = True) -> int:
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        self._unanswered[info.mid] = topic
        return info.mid

    def _on_connect(self, client: Client, data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Any) -> None:
        self._resumed, self._reason = flags.session_present, reason
        self._accepted = not reason.is_failure

    def _on_answer(self, client: Client, data: Any, mid: int, reasons: list[ReasonCode], properties: Any) -> None:
        topic = self._unanswered.pop(mid, "")
        if any(reason.is_failure for reason in reasons):
            self._cannot_hear(topic)

    def _on_publish(self, client: Client, data: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        topic = self._unanswered.pop(mid, "")
        if reason.is_failure:
            self._denied.add(topic)
            what = f"write to {topic}: {reason}; let it read and write fcoslite/#, and write homeassistant/#"
            self._tell_denied(what)
        elif self._in_flight is not None and self._in_flight.mid == mid:
            self._has(self._in_flight.id)

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        if message.topic == self._topics.echo:
            self._echoed = True
        elif message.topic == self._topics.event:
            self._has(_id_of(message.payload))
        client.ack(message.mid, message.qos)  # only now: until then the broker keeps it

    def _has(self, event_id: str) -> None:
        """The broker has an event."""
        self._spool.sent(event_id)
        if self._in_flight is not None and self._in_flight.id == event_id:
            self._in_flight = None


def _id_of(payload: bytes) -> str:
    try:
        document = json.loads(payload)
    except ValueError:
        return ""
    return str(document.get("id")) if isinstance(document, dict) else ""
