"""MQTT topics of a camera, and the message by which Home Assistant finds it.

The message is that of device discovery, https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
(Home Assistant 2024.11 and later).
"""

from typing import Any

import fcoslite

EVENT_TYPE = "visit"
ONLINE, OFFLINE = "online", "offline"


class Topics:
    """The topics of a camera.

    Attributes:
        person: ON while somebody is inside the zone, else OFF; retained.
        count: How many; retained.
        event: Each event, when it is over; not retained.
        availability: online or offline; retained, and the last will.
        echo: To ourselves.
        discovery: To Home Assistant; retained.
    """

    def __init__(self, camera: str) -> None:
        base = f"fcoslite/{camera}"
        self.person = f"{base}/person"
        self.count = f"{base}/count"
        self.event = f"{base}/event"
        self.availability = f"{base}/availability"
        self.echo = f"{base}/echo"
        self.discovery = f"homeassistant/device/{device_id(camera)}/config"


def device_id(camera: str) -> str:
    """What Home Assistant and brokers know a camera by."""
    return f"fcoslite_{camera}"


def discovery_message(camera: str) -> dict[str, Any]:
    """A device with three entities: occupancy, number of people, and event."""
    topics, device = Topics(camera), device_id(camera)
    return {
        "device": {
            "identifiers": [device],
            "name": camera,
            "manufacturer": "fcoslite",
            "model": "Person detector",
            "sw_version": fcoslite.__version__,
        },
        "origin": {"name": "fcoslite", "sw_version": fcoslite.__version__},
        "availability_topic": topics.availability,
        "qos": 1,
        "components": {
            "person": {
                "platform": "binary_sensor",
                "unique_id": f"{device}_person",
                "name": "Person",
                "device_class": "occupancy",
                "state_topic": topics.person,
            },
            "count": {
                "platform": "sensor",
                "unique_id": f"{device}_count",
                "name": "People",
                "icon": "mdi:account-multiple",
                "state_class": "measurement",
                "state_topic": topics.count,
            },
            "event": {
                "platform": "event",
                "unique_id": f"{device}_event",
                "name": "Visit",
                "icon": "mdi:walk",
                "event_types": [EVENT_TYPE],
                "state_topic": topics.event,
            },
        },
    }
