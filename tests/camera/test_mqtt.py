"""What a broker is told, by a real one: mosquitto, where it is installed."""

import json
import logging
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fcoslite.camera import mqtt
from fcoslite.camera.broker import Broker, read_broker
from fcoslite.camera.mqtt import Publisher
from fcoslite.camera.spool import Spool
from fcoslite.camera.topics import discovery_message
from fcoslite.errors import FcosliteError
from tests.cables import Cable
from tests.mosquitto import Listener, Mosquitto, needs_mosquitto, wait_for
from tests.ports import free_port

mosquitto_needed = needs_mosquitto()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(mqtt, "_LONGEST_PAUSE_SECONDS", 0.2)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    started = Mosquitto(tmp_path / "broker")
    yield started
    started.stop()


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    heard = Listener(broker.port)
    yield heard
    heard.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool", "door") as opened:
        yield opened


def add(spool: Spool, number: int) -> None:
    spool.add(f"event-{number}", json.dumps({"id": f"event-{number}", "camera": "door", "track": number}), None)


def told(messages: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in messages.records)


# --- with a broker


@mosquitto_needed
def test_state_and_events_reach_home_assistant_and_everybody(
    broker: Mosquitto, listener: Listener, spool: Spool
) -> None:
    with Publisher(read_broker(broker.address), "door", spool) as publisher:
        publisher.start()
        wait_for(lambda: listener.payloads("fcoslite/door/count") == ["0"])
        publisher.show(2)
        wait_for(lambda: "2" in listener.payloads("fcoslite/door/count"))
        publisher.show(1)
        add(spool, 1)
        wait_for(lambda: len(listener.events("door")) == 1 and len(spool) == 0)
    wait_for(lambda: listener.payloads("fcoslite/door/availability")[-1:] == ["offline"])
    topics = [topic for topic, _, _ in listener.heard]
    assert topics[0] == "homeassistant/device/fcoslite_door/config"  # before what its entities show
    assert json.loads(listener.heard[0][1]) == discovery_message("door")
    assert listener.payloads("fcoslite/door/availability") == ["online", "offline"]
    assert listener.payloads("fcoslite/door/person") == ["OFF", "ON", "OFF"]
    assert listener.payloads("fcoslite/door/count") == ["0", "2", "1", "0"]
    assert listener.events("door") == [{"event_type": "visit", "id": "event-1", "camera": "door", "track": 1}]
    late = Listener(broker.port)  # as the same listener it is told what is retained
    wait_for(lambda: len(late.heard) >= 4)
    assert {topic for topic, _, retained in late.heard if retained} == {
        "homeassistant/device/fcoslite_door/config",
        *(f"fcoslite/door/{name}" for name in ("availability", "person", "count")),
    }
    late.close()


@mosquitto_needed
def test_what_comes_while_the_broker_is_away_is_sent_once_it_is_back(
    broker: Mosquitto, listener: Listener, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    with Publisher(read_broker(broker.address), "door", spool) as publisher:
        publisher.start()
        add(spool, 1)
        wait_for(lambda: len(spool) == 0)
        broker.stop()
        wait_for(lambda: "is away" in told(caplog))
        for number in range(2, 12):
            add(spool, number)
        publisher.show(3)
        time.sleep(1)  # several tries
        broker.start()
        wait_for(lambda: len(spool) == 0)
        wait_for(lambda: len(listener.events("door")) == 11)
        wait_for(lambda: listener.payloads("fcoslite/door/count")[-1] == "3")
    assert [event["track"] for event in listener.events("door")] == list(range(1, 12))
    assert told(caplog).count("is away: ") <= 2  # closed, and then refused: once for each reason
    assert told(caplog).count("is back") == 1 and str(spool.path) in told(caplog)


@mosquitto_needed
def test_a_broker_that_is_away_at_the_start_is_waited_for(
    broker: Mosquitto, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    broker.stop()
    with Publisher(read_broker(broker.address), "door", spool) as publisher:
        publisher.start()
        assert told(caplog).count("is away") == 1
        add(spool, 1)
        time.sleep(0.5)
        assert told(caplog).count("is away") == 1 and len(spool) == 1
        broker.start()
        wait_for(lambda: len(spool) == 0)


@mosquitto_needed
def test_a_program_that_dies_is_offline_and_one_that_is_back_soon_never_was(
    broker: Mosquitto, listener: Listener, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "_WILL_SECONDS", 1)
    cable = Cable(broker.port)
    with Publisher(Broker("127.0.0.1", cable.port), "door", spool) as publisher:
        publisher.start()
        wait_for(lambda: listener.payloads("fcoslite/door/availability") == ["online"])
        cable.pull_out()
        cable.plug_in()
        wait_for(lambda: listener.payloads("fcoslite/door/availability") == ["online", "online"])
        time.sleep(1.5)
        assert "offline" not in listener.payloads("fcoslite/door/availability")
        cable.pull_out()
        wait_for(lambda: listener.payloads("fcoslite/door/availability")[-1] == "offline")


@mosquitto_needed
def test_a_cable_that_is_pulled_out_at_any_moment_loses_nothing_and_doubles_nothing(
    broker: Mosquitto, listener: Listener, spool: Spool
) -> None:
    cable, chance, ended = Cable(broker.port), random.Random(5), threading.Event()

    def pull() -> None:
        while not ended.wait(chance.uniform(0.05, 0.4)):
            cable.pull_out()
            cable.plug_in()

    with Publisher(Broker("127.0.0.1", cable.port), "door", spool) as publisher:
        publisher.start()
        puller = threading.Thread(target=pull)
        puller.start()
        for number in range(150):
            add(spool, number)
            time.sleep(0.01)
        time.sleep(1)
        ended.set()
        puller.join()
        wait_for(lambda: len(spool) == 0)
    wait_for(lambda: len(listener.events("door")) >= 150)
    time.sleep(0.5)
    assert [event["track"] for event in listener.events("door")] == list(range(150))


@mosquitto_needed
@pytest.mark.parametrize("reaches", [True, False])
def test_an_event_in_doubt_is_sent_again_only_if_the_broker_has_it_not(
    reaches: bool, broker: Mosquitto, listener: Listener, spool: Spool
) -> None:
    cable = Cable(broker.port)
    cable.reaches = reaches
    there = Broker("127.0.0.1", cable.port)
    with Publisher(there, "door", spool) as publisher:
        publisher.start()
        for number in range(5):
            cable.cut_at = f'"event-{number}"'.encode()
            add(spool, number)
            wait_for(lambda: cable.cut_at is None and len(spool) == 0)
    time.sleep(0.5)
    assert [event["track"] for event in listener.events("door")] == list(range(5))
    # and by another process, which knows but what is on the disk
    with Publisher(there, "door", spool) as publisher:
        publisher.start()
        cable.cut_at = b'"event-7"'
        add(spool, 7)
        wait_for(lambda: cable.cut_at is None)
        cable.pull_out()
    assert len(spool) == 1
    with Publisher(Broker("127.0.0.1", broker.port), "door", spool) as publisher:
        publisher.start()
        wait_for(lambda: len(spool) == 0)
    time.sleep(0.5)
    assert [event["track"] for event in listener.events("door")] == [0, 1, 2, 3, 4, 7]


KILLED = """
import sys
from pathlib import Path
import numpy as np
from fcoslite.camera.broker import Broker
from fcoslite.camera.watch import Watch, Watcher
from fcoslite.detections.detections import Detections

port, first, last = map(int, sys.argv[1:4])
photograph = np.full((90, 160, 3), 128, np.uint8)
box, score, person = np.array([[20, 20, 50, 80]], np.float32), np.array([0.9], np.float32), np.array([1], np.int32)
watch = Watch(0.0, Path("events.jsonl"), broker=Broker("127.0.0.1", port))
with Watcher(watch, "door") as watcher:
    print("began", flush=True)
    for number in range(first, last):  # each is seen for a frame, and over two seconds later
        found = Detections(box, score, person, ("person",), np.array([number], np.int32))
        watcher.see(photograph, found, 2.0 * number, None, None)
"""


@mosquitto_needed
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_kill_at_any_moment_loses_nothing_and_doubles_nothing(
    broker: Mosquitto, listener: Listener, tmp_path: Path
) -> None:
    chance = random.Random(7)
    for life in range(4):
        command = [sys.executable, "-c", KILLED, str(broker.port), str(1000 * life + 1), str(1000 * life + 1000)]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "began\n"
            time.sleep(chance.uniform(0.1, 1.5))
            process.kill()
    last = [sys.executable, "-c", KILLED, str(broker.port), "9000", "9010"]
    subprocess.run(last, cwd=tmp_path, check=True, timeout=120)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    ids = [line["id"] for line in lines]
    assert len(ids) > 20 and len(set(ids)) == len(ids)
    wait_for(lambda: len(listener.events("door")) >= len(ids))
    time.sleep(0.5)
    assert [event["id"] for event in listener.events("door")] == ids
    assert all((tmp_path / line["picture"]).stat().st_size > 0 for line in lines)


@mosquitto_needed
def test_two_programs_with_one_name_are_told(
    broker: Mosquitto, tmp_path: Path, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    there = read_broker(broker.address)
    with Publisher(there, "door", spool) as first, Spool(tmp_path / "other", "door") as other:
        first.start()
        with Publisher(there, "door", other) as second:
            second.start()
            wait_for(lambda: "another program sends as the camera door" in told(caplog))
            said = len(caplog.records)
            time.sleep(2)
            assert len(caplog.records) <= said + 10  # each of the two says it a few times, and then no more


@mosquitto_needed
def test_a_wrong_password_is_told_and_the_right_one_is_taken(tmp_path: Path, spool: Spool) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "watcher", "se:cret"], check=True)
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker", ["allow_anonymous false", f"password_file {passwords}"])
    login = tmp_path / "login"
    for text, named in (("watcher:wrong\n", "watcher"), ("nobody:secret", "nobody")):
        login.write_text(text)
        with Publisher(read_broker(broker.address, login), "door", spool) as publisher:
            with pytest.raises(FcosliteError, match=r"refuses the connection: (Not authorized|Bad user)") as raised:
                publisher.start()
            assert named in raised.value.hint and "--mqtt-login" in raised.value.hint
    with (
        Publisher(read_broker(broker.address), "door", spool) as publisher,
        pytest.raises(FcosliteError, match="refuses the connection"),
    ):
        publisher.start()
    login.write_text("watcher:se:cret\n")
    add(spool, 1)
    with Publisher(read_broker(broker.address, login), "door", spool) as publisher:
        publisher.start()
        wait_for(lambda: len(spool) == 0)
    broker.stop()


@mosquitto_needed
def test_what_the_broker_does_not_allow_is_told(tmp_path: Path, spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "acl").write_text("topic readwrite homeassistant/#\n")
    broker = Mosquitto(tmp_path / "broker", ["allow_anonymous true", f"acl_file {tmp_path / 'acl'}"])
    with Publisher(read_broker(broker.address), "door", spool) as publisher:
        publisher.start()
        add(spool, 1)
        wait_for(lambda: "write to fcoslite/door/event" in told(caplog))
    assert len(spool) == 1  # it waits for better times
    assert "fcoslite/#" in told(caplog) and "1 events wait" in told(caplog)
    broker.stop()


@mosquitto_needed
@pytest.mark.parametrize("silent", [True, False])
def test_who_may_not_read_sends_all_the_same(
    silent: bool, tmp_path: Path, spool: Spool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of topics takes a subscription and sends nothing; other brokers refuse it."""
    monkeypatch.setattr(mqtt, "_ANSWER_SECONDS", 3)
    (tmp_path / "broker").mkdir()
    if silent:
        (tmp_path / "acl").write_text("topic write fcoslite/#\ntopic write homeassistant/#\n")
        lines = ["allow_anonymous true", f"acl_file {tmp_path / 'acl'}"]
    else:
        plugin = next(Path("/usr").glob("lib*/**/mosquitto_dynamic_security.so"), None)
        if plugin is None:
            pytest.skip("mosquitto has no dynamic security here")
        access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True}
        (tmp_path / "access.json").write_text(json.dumps({"defaultACLAccess": access}))
        lines = ["allow_anonymous true", f"plugin {plugin}", f"plugin_opt_config_file {tmp_path / 'access.json'}"]
    broker = Mosquitto(tmp_path / "broker", lines)
    cable = Cable(broker.port)
    with Publisher(Broker("127.0.0.1", cable.port), "door", spool) as publisher:
        publisher.start()
        add(spool, 0)
        wait_for(lambda: len(spool) == 0)
        cable.cut_at = b'"event-1"'
        add(spool, 1)
        wait_for(lambda: cable.cut_at is None and len(spool) == 0)
    assert "may come twice after a kill" in told(caplog) and "let it read fcoslite/#" in told(caplog)
    broker.stop()


@mosquitto_needed
def test_tls_with_a_certificate_of_ones_own(tmp_path: Path, spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    import trustme

    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(tmp_path / "cert.pem", append=number > 0)
    (tmp_path / "broker").mkdir()
    lines = ["allow_anonymous true", f"certfile {tmp_path / 'cert.pem'}", f"keyfile {tmp_path / 'key.pem'}"]
    broker = Mosquitto(tmp_path / "broker", lines)
    address, ca = f"mqtts://localhost:{broker.port}", tmp_path / "ca.pem"
    listener = Listener(broker.port, ca=ca)
    for wrong in (read_broker(address), read_broker(address, ca=tmp_path / "other.pem")):
        with Publisher(wrong, "door", spool) as publisher:
            with pytest.raises(FcosliteError, match="is not trusted") as raised:
                publisher.start()
            assert "--mqtt-ca" in raised.value.hint
    with (
        Publisher(read_broker(f"mqtts://127.0.0.1:{broker.port}", ca=ca), "door", spool) as publisher,
        pytest.raises(FcosliteError, match=r"is not trusted: .*127\.0\.0\.1"),
    ):
        publisher.start()
    with Publisher(read_broker(f"mqtt://localhost:{broker.port}"), "door", spool) as publisher:
        publisher.start()
    assert "then write mqtts://" in told(caplog)
    add(spool, 1)
    with Publisher(read_broker(address, ca=ca), "door", spool) as publisher:
        publisher.start()
        wait_for(lambda: len(listener.events("door")) == 1)
    listener.close()
    broker.stop()


@mosquitto_needed
def test_tls_where_there_is_none(broker: Mosquitto, spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    with Publisher(read_broker(f"mqtts://127.0.0.1:{broker.port}"), "door", spool) as publisher:
        publisher.start()
    assert "is away: it ends the connection before TLS begins" in told(caplog)


def test_tls_where_something_else_answers(spool: Spool) -> None:
    port = answer_with(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with (
        Publisher(read_broker(f"mqtts://127.0.0.1:{port}"), "door", spool) as publisher,
        pytest.raises(FcosliteError, match="has no TLS there") as raised,
    ):
        publisher.start()
    assert "mqtt://" in raised.value.hint


# --- without one


def answer_with(content: bytes) -> int:
    """The port of a server that answers so, whatever it is told."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(content)

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


def test_nobody_listens(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with Publisher(Broker("127.0.0.1", port), "door", spool) as publisher:
        publisher.start()
        publisher.show(1)
        add(spool, 1)
        time.sleep(0.5)
    assert told(caplog).count(f"mqtt://127.0.0.1:{port} is away: Connection refused") == 1
    assert "1 events wait in" in told(caplog) and str(spool.path) in told(caplog)
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_no_such_host(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # the tests may have no network to ask
    with Publisher(Broker("brocker.local", 1883), "door", spool) as publisher:
        with pytest.raises(FcosliteError, match=r"no host is called brocker\.local") as raised:
            publisher.start()
        assert "--mqtt" in raised.value.hint


@pytest.mark.parametrize(
    "answer", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"], ids=["MQTT 3.1.1", "version not supported"]
)
def test_a_broker_without_mqtt_5(answer: bytes, spool: Spool) -> None:
    with (
        Publisher(Broker("127.0.0.1", answer_with(answer)), "door", spool) as publisher,
        pytest.raises(FcosliteError, match=r"MQTT 5|nsupported protocol version"),
    ):
        publisher.start()


def test_a_server_that_is_no_broker_is_taken_for_one_that_is_away(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    with Publisher(Broker("127.0.0.1", answer_with(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "door", spool) as publisher:
        try:
            publisher.start()
        except FcosliteError as error:
            assert "not in MQTT 5" in error.message
        else:
            assert "is away" in told(caplog)
