"""The plan of what is watched and where it goes: decided and checked before anything is opened."""

from collections.abc import Sequence
from pathlib import Path

from fcoslite.camera.broker import check_mqtt, read_broker
from fcoslite.camera.event_file import check_event_file
from fcoslite.camera.events import PERSON
from fcoslite.camera.names import check_camera_name
from fcoslite.camera.watch import Watch
from fcoslite.errors import ConfigError
from fcoslite.inference.tracking import check_tracking
from fcoslite.inference.zone import Zone, parse_zone
from fcoslite.storage.space import check_room, check_writable

MIN_SECONDS = 1.0
SPOOL = Path("mqtt-spool")


def plan_watch(
    events: Path | None,
    mqtt: str | None,
    *,
    zone: str | None = None,
    min_seconds: float | None = None,
    camera: str | None = None,
    login: Path | None = None,
    ca: Path | None = None,
    spool: Path | None = None,
    overwrite: bool = False,
) -> tuple[Watch, Zone | None] | None:
    """Decide what counts as an event and where events go, and see that they can; nothing is written.

    Args:
        events: File of events; `-` is stdout.
        mqtt: Address of a broker.
        zone: As text, see `parse_zone`.
        min_seconds: So long somebody must be inside.
        camera: Name that was given to the camera.
        login: File with user and password.
        ca: File of a certificate's authority.
        spool: Folder of what waits to be sent.
        overwrite: Begin the file of events anew.

    Returns:
        The plan, and the zone; None where no events are wanted.

    Raises:
        ConfigError: An option cannot be used, or does nothing without another.
        DataError: A place cannot be written.
        FcosliteError: A package is not installed, or a disk is full.
    """
    of_mqtt = {"--mqtt-login": login, "--mqtt-ca": ca, "--mqtt-spool": spool}
    of_both = {"--zone": zone, "--min-seconds": min_seconds, "--camera": camera}
    for options, needed, there in (
        (of_mqtt, "--mqtt", mqtt is not None),
        (of_both, "--events or --mqtt", mqtt is not None or events is not None),
    ):
        given = [flag for flag, value in options.items() if value is not None]
        if given and not there:
            raise ConfigError(f"{given[0]} does nothing without {needed}", f"add {needed}, or leave it out")
    if mqtt is None and events is None:
        return None
    check_tracking()
    if camera is not None:
        check_camera_name(camera)
    broker = None
    spool = spool or SPOOL
    if mqtt is not None:
        check_mqtt()
        broker = read_broker(mqtt, login, ca)
        check_writable(spool, "name another folder by --mqtt-spool")
        check_room(spool)
    if events is not None:
        check_event_file(events, overwrite)
    parsed = None if zone is None else parse_zone(zone)
    return Watch(MIN_SECONDS if min_seconds is None else min_seconds, events, overwrite, broker, spool), parsed


def check_person(class_names: Sequence[str]) -> None:
    """See that a detector finds persons, of whom events are.

    Raises:
        ConfigError: It does not.
    """
    if PERSON not in class_names:
        raise ConfigError(
            f"--events and --mqtt are of persons, and the classes are {', '.join(class_names)[:200]}",
            "take weights that know person, such as lite0",
        )
