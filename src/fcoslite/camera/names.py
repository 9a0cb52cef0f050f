"""Names of cameras: part of file names, of MQTT topics and of what Home Assistant shows, and without secrets."""

import re

from fcoslite.errors import ConfigError
from fcoslite.inference.input.addresses import is_address
from fcoslite.inference.input.listing import name_of_address, video_stem

_MOST = 64  # characters


def check_camera_name(name: str) -> None:
    """Refuse a name that is not made of safe characters.

    Raises:
        ConfigError: It is empty, too long, or has others.
    """
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{_MOST}}}", name):
        raise ConfigError(f"--camera {name[:200]!r} is no name", f"letters, digits, - and _, at most {_MOST}")


def camera_name(source: str) -> str:
    """What to call a source that has no name: `camera-0`, a stream's host and path, a video's name without suffix.

    Args:
        source: A camera's number, an address, or a path such as `Listed.name`.
    """
    if match := re.fullmatch(r"(?:/dev/video|camera )?(\d+)", source):
        return f"camera-{match[1]}"
    text = name_of_address(source) if is_address(source) else video_stem(source)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:_MOST] or "camera"
