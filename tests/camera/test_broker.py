import sys
from pathlib import Path

import pytest

from fcoslite.camera.broker import check_mqtt, read_broker
from fcoslite.errors import ConfigError, FcosliteError


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "PASSWORD"):
        monkeypatch.delenv(f"FCOSLITE_MQTT_{name}", raising=False)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("mqtt://192.168.1.10", "mqtt://192.168.1.10:1883"),
        ("mqtt://homeassistant.local:1884/", "mqtt://homeassistant.local:1884"),
        ("mqtts://broker", "mqtts://broker:8883"),
        ("mqtt://[::1]:1883", "mqtt://[::1]:1883"),
    ],
)
def test_addresses(address: str, shown: str) -> None:
    broker = read_broker(address)
    assert broker.shown == shown and (broker.tls is None) == shown.startswith("mqtt:") and broker.user is None


@pytest.mark.parametrize(
    "address",
    [
        *("broker", "mqtt:broker", "http://broker", "mqtt://", "mqtt://broker:0", "mqtt://broker:x"),
        *("mqtt://broker:99999", "mqtt://broker/topic", "mqtt://broker?x=1", "mqtt://[::1", "mqtt://bro\tker"),
        f"mqtt://{'x' * 64}.de",
    ],
)
def test_others_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="--mqtt") as raised:
        read_broker(address)
    assert "mqtt://" in raised.value.hint


@pytest.mark.parametrize("address", ["mqtt://me:s3cret@broker", "mqtt://s3cret@broker", "me:s3cret@broker"])
def test_a_password_in_the_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(ConfigError, match="do not belong in the address") as raised:
        read_broker(address)
    assert "s3cret" not in raised.value.message + raised.value.hint and "--mqtt-login" in raised.value.hint


def test_user_and_password_are_in_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FCOSLITE_MQTT_USER", "me")
    monkeypatch.setenv("FCOSLITE_MQTT_PASSWORD", "s3cret")
    broker = read_broker("mqtt://broker")
    assert (broker.user, broker.password) == ("me", "s3cret") and "s3cret" not in repr(broker)
    (login := tmp_path / "login").write_text("you:pass:word with spaces\nanything\n")
    broker = read_broker("mqtt://broker", login)
    assert (broker.user, broker.password) == ("you", "pass:word with spaces")
    monkeypatch.delenv("FCOSLITE_MQTT_USER")
    with pytest.raises(ConfigError, match="FCOSLITE_MQTT_PASSWORD is set"):
        read_broker("mqtt://broker")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    for content in (b"", b"me\n", b":s3cret\n", b"\xff\xfe\xff"):
        (login := tmp_path / "login").write_bytes(content)
        with pytest.raises(ConfigError, match="--mqtt-login") as raised:
            read_broker("mqtt://broker", login)
        assert "s3cret" not in str(raised.value)
    with pytest.raises(ConfigError, match="--mqtt-login"):
        read_broker("mqtt://broker", tmp_path / "absent")
    (ca := tmp_path / "ca.pem").write_text("no certificate")
    for file in (ca, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="--mqtt-ca"):
            read_broker("mqtts://broker", ca=file)
    with pytest.raises(ConfigError, match="is for mqtts://"):
        read_broker("mqtt://broker", ca=ca)


def test_without_the_package_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    check_mqtt()
    monkeypatch.setitem(sys.modules, "paho.mqtt.enums", None)
    with pytest.raises(FcosliteError, match="paho-mqtt") as raised:
        check_mqtt()
    assert "fcoslite[mqtt]" in raised.value.hint
