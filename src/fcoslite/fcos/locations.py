"""Where the locations of all levels look, in a square image whose side is known."""

from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True, eq=False)
class Locations:
    """The locations of an image: finest level first, row by row.

    Attributes:
        points: [N, 2] float32 (x, y), pixels: column · stride + stride / 2, and row alike.
        strides: [N] float32, pixels between a location and its neighbours.
        level: [N] int32, index of the level; 0 is the finest.
        levels: The locations of each level.
    """

    points: np.ndarray
    strides: np.ndarray
    level: np.ndarray
    levels: tuple[slice, ...]

    def __len__(self) -> int:
        """Their number, N."""
        return len(self.points)


@cache
def locations_of(image_size: int, strides: tuple[int, ...]) -> Locations:
    """The locations of a letterboxed image.

    Args:
        image_size: Its side, pixels; a multiple of every stride.
        strides: Pixels between neighbours, one per level.
    """
    counts = [(image_size // stride) ** 2 for stride in strides]
    ends = np.cumsum(counts).tolist()
    locations = Locations(
        points=np.concatenate([_grid(image_size, stride) for stride in strides]),
        strides=np.repeat(np.asarray(strides, np.float32), counts),
        level=np.repeat(np.arange(len(strides), dtype=np.int32), counts),
        levels=tuple(slice(end - count, end) for count, end in zip(counts, ends, strict=True)),
    )
    for array in (locations.points, locations.strides, locations.level):
        array.flags.writeable = False  # all who ask share it
    return locations


def _grid(image_size: int, stride: int) -> np.ndarray:
    """The points of a level."""
    line = np.arange(image_size // stride, dtype=np.float32) * stride + stride / 2
    x, y = np.meshgrid(line, line)
    return np.stack([x.ravel(), y.ravel()], axis=-1)
