"""An MQTT broker: its address, and what opens it; user and password never stand in an address or a command line."""

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from fcoslite.errors import ConfigError, FcosliteError
from fcoslite.text import without_user

USER = "FCOSLITE_MQTT_USER"
PASSWORD = "FCOSLITE_MQTT_PASSWORD"

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_HINT = "it is mqtt://HOST or mqtts://HOST, such as mqtt://192.168.1.10 or mqtts://homeassistant.local:8883"
_LOGIN_HINT = f"put them in {USER} and {PASSWORD}, or as user:password into a file that --mqtt-login names"


@dataclass(frozen=True)
class Broker:
    """A broker.

    Attributes:
        host: Its name or number.
        port: Its port.
        tls: What its certificate is checked with; None: the connection is not encrypted.
        user: None: it asks for none.
        password: Never shown.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """Its address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtt' if self.tls is None else 'mqtts'}://{host}:{self.port}"


def check_mqtt() -> None:
    """See that what MQTT needs is installed.

    Raises:
        FcosliteError: It is not.
    """
    try:
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: F401, is of version 2
    except ImportError:
        raise FcosliteError("for --mqtt the package paho-mqtt is needed", 'pip install "fcoslite[mqtt]"') from None


def read_broker(address: str, login: Path | None = None, ca: Path | None = None) -> Broker:
    """The broker at an address.

    Args:
        address: `mqtt://HOST`, or `mqtts://HOST` for TLS, with `:PORT` if need be.
        login: A file whose first line is user:password; None: they are in the environment, if they are needed.
        ca: A PEM file with the certificate that signed the broker's; None: those that the system trusts.

    Raises:
        ConfigError: The address or a file cannot be used.
    """
    host, port, encrypted = _parse(address)
    if ca is not None and not encrypted:
        raise ConfigError("--mqtt-ca is for mqtts://, and the address is mqtt://", f"write mqtts://{host}")
    user, password = _login(login)
    return Broker(host, port, _tls(ca) if encrypted else None, user, password)


def _parse(address: str) -> tuple[str, int, bool]:
    if "@" in address:
        # whoever lists the processes of this machine sees it
        raise ConfigError(
            f"--mqtt {without_user(address)}: user and password do not belong in the address", _LOGIN_HINT
        )
    try:
        parts = urlsplit(address)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except (ValueError, UnicodeError):  # the port is none, a bracket has no partner, or no host has such a name
        raise ConfigError(f"--mqtt {address[:200]}: no address", _HINT) from None
    rest = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or rest or not address.isprintable():
        raise ConfigError(f"--mqtt {address[:200]}: no address of a broker", _HINT)
    return parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "mqtts"


def _login(file: Path | None) -> tuple[str | None, str | None]:
    if file is None:
        user, password = os.environ.get(USER), os.environ.get(PASSWORD)
        if password and not user:
            raise ConfigError(f"{PASSWORD} is set, and {USER} is not", f"set {USER}, too")
        return user or None, password or None
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--mqtt-login {file} cannot be read: {error}", "it is a text file") from None
    user, colon, password = (text.splitlines() or [""])[0].partition(":")
    if not user or not colon:
        raise ConfigError(
            f"--mqtt-login {file}: its first line is not user:password", "write both, and a colon between"
        )
    return user, password


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError, UnicodeError) as error:
        raise ConfigError(f"--mqtt-ca {ca} cannot be used: {error}", "it is a PEM file of certificates") from None
