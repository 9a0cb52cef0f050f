"""The cameras of this machine, found without opening any."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that can be named by its number.

    Attributes:
        index: What `--source` takes.
        name: What the driver calls it.
    """

    index: int
    name: str


def list_cameras(root: Path = Path("/")) -> list[Camera] | None:
    """The cameras of this machine, by index; None where the system tells only by opening them.

    Linux lists them in /dev and names them in /sys. Windows and macOS have no such list that Python could
    read, and trying index after index would take seconds and light the cameras' lamps.

    Args:
        root: Where dev/ and sys/ lie.
    """
    if sys.platform != "linux":
        return None
    names = [path.name for path in (root / "dev").glob("video*")]
    indices = sorted(int(match[1]) for name in names if (match := re.fullmatch(r"video(\d+)", name)))
    described = ((index, root / "sys/class/video4linux" / f"video{index}") for index in indices)
    return [Camera(index, _read(driver / "name")) for index, driver in described if _captures(driver)]


def _captures(driver: Path) -> bool:
    # a USB camera has a second node that carries only metadata; its pictures are always on node 0
    return _read(driver / "index") in ("0", "")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
