"""A zone: the part of a picture, a polygon, in which people count."""

from dataclasses import dataclass, replace
from math import isfinite

import cv2
import numpy as np

from fcoslite.errors import ConfigError

_HINT = "it is x,y,x,y,... of three corners or more, in pixels of the picture or all in 0 to 1, as parts of its sides"
_MOST_CORNERS = 200


@dataclass(frozen=True)
class Zone:
    """A polygon in a picture.

    Attributes:
        corners: (x, y) each, in order around it, from the picture's upper left corner.
        in_pixels: Of the picture that it was made for; else as fractions of width and height.
    """

    corners: tuple[tuple[float, float], ...]
    in_pixels: bool

    def fitted(self, height: int, width: int) -> "Zone":
        """The zone in fractions, which stays where it is when a camera changes the size of its pictures.

        Args:
            height: Of the picture that it was made for, pixels.
            width: Likewise.

        Raises:
            ConfigError: A corner lies outside the picture.
        """
        if not self.in_pixels:
            return self
        outside = [(x, y) for x, y in self.corners if x > width or y > height]
        if outside:
            x, y = outside[0]
            raise ConfigError(
                f"--zone: the corner {x:g},{y:g} lies outside the picture, which is {width}x{height} pixels",
                "give corners within it, or as parts of its sides, such as 0.5,0.5",
            )
        return replace(self, corners=tuple((x / width, y / height) for x, y in self.corners), in_pixels=False)

    def outline(self, height: int, width: int) -> np.ndarray:
        """The corners of a zone in fractions, [K, 2] float32, in pixels of a picture."""
        return np.array(self.corners, np.float32) * np.array([width, height], np.float32)


def parse_zone(text: str) -> Zone:
    """Read `x,y,x,y,...`: in pixels, or, where all numbers lie in 0 to 1, in fractions.

    Raises:
        ConfigError: It is no polygon that encloses something.
    """
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        raise ConfigError(f"--zone {text[:200]}: '{_no_number(text)}' is no number", _HINT) from None
    if not all(map(isfinite, numbers)) or min(numbers) < 0:
        raise ConfigError(f"--zone {text[:200]}: a corner lies outside the picture", _HINT)
    if len(numbers) % 2:
        raise ConfigError(f"--zone {text[:200]}: {len(numbers)} numbers are no pairs x,y", _HINT)
    corners = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    corners = tuple(corner for number, corner in enumerate(corners) if corner != corners[number - 1])
    if len(corners) < 3:
        raise ConfigError(f"--zone {text[:200]}: {len(corners)} corners enclose nothing", _HINT)
    if len(corners) > _MOST_CORNERS:
        raise ConfigError(f"--zone: {len(corners)} corners", f"{_MOST_CORNERS} are the most")
    if _sides_cross(corners):
        raise ConfigError(f"--zone {text[:200]}: its sides cross", "give the corners in their order around the zone")
    return Zone(corners, in_pixels=max(numbers) > 1)


def feet_inside(boxes_xyxy: np.ndarray, zone_xy: np.ndarray | None) -> np.ndarray:
    """Which boxes [N, 4] stand in a zone with corners [K, 2], or on its sides, [N] bool; None: all do.

    What decides is the middle of a box's lower side, where a person stands.
    """
    if zone_xy is None:
        return np.ones(len(boxes_xyxy), bool)
    feet = np.stack([boxes_xyxy[:, [0, 2]].mean(axis=1), boxes_xyxy[:, 3]], axis=1).astype(float)
    outline = np.asarray(zone_xy, np.float32)
    inside = [cv2.pointPolygonTest(outline, (x, y), measureDist=False) >= 0 for x, y in feet.tolist()]
    return np.array(inside, bool)


def _no_number(text: str) -> str:
    for word in text.split(","):
        try:
            float(word)
        except ValueError:
            return word.strip()[:50]
    return ""


def _sides_cross(corners: tuple[tuple[float, float], ...]) -> bool:
    """Whether two sides meet anywhere but at the corner that neighbours share, or all lie on one line."""
    points = np.array(corners, float)
    count = len(points)
    starts, ends = points, np.roll(points, -1, axis=0)
    if abs(np.sum(starts[:, 0] * ends[:, 1] - ends[:, 0] * starts[:, 1])) < 1e-9 * np.ptp(points) ** 2:
        return True
    return any(
        _meet(starts[first], ends[first], starts[second], ends[second])
        for first in range(count)
        for second in range(first + 2, count - (first == 0))
    )


def _meet(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    """Whether the segments ab and cd have a point in common."""
    turns = [_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)]
    if turns[0] != turns[1] and turns[2] != turns[3]:
        return True
    ends = ((c, a, b), (d, a, b), (a, c, d), (b, c, d))
    return any(not turn and _between(*end) for turn, end in zip(turns, ends, strict=True))


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> int:
    return int(np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])))


def _between(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> bool:
    return bool((np.minimum(start, end) <= point).all() and (point <= np.maximum(start, end)).all())
