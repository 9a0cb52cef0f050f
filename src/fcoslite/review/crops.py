"""What a reviewer sees of an image: a box with what is around it, or the whole of it."""

from dataclasses import dataclass

import numpy as np

from fcoslite.browser.pictures import jpeg_for_screen

_AROUND = 2.2  # times the longer side of the box
_LEAST = 0.3  # of the shorter side of the image: a small box alone says little
_CROP_PIXELS = 900  # the longer side of what is sent
_PICTURE_PIXELS = 1920


@dataclass(frozen=True)
class Crop:
    """A part of an image.

    Attributes:
        region: x, y, width, height of the part, pixels of the image.
        jpeg: It.
    """

    region: tuple[int, int, int, int]
    jpeg: bytes


def cut_crop(image_rgb: np.ndarray, bbox: tuple[float, float, float, float]) -> Crop:
    """A box with what is around it: a square of 2.2 times its longer side, and no less than 0.3 times the image's
    shorter one. At the border of the image it is moved inside, and cut only where the image is smaller.

    Args:
        image_rgb: [h, w, 3] uint8.
        bbox: x, y, width, height, pixels.
    """
    sides = image_rgb.shape[1], image_rgb.shape[0]
    side = max(_AROUND * max(bbox[2:]), _LEAST * min(sides))
    starts, ends = [], []
    for start, length, whole in zip(bbox[:2], bbox[2:], sides, strict=True):
        size = min(round(side), whole)
        first = min(max(round(start + length / 2 - size / 2), 0), whole - size)
        starts.append(first)
        ends.append(first + size)
    part = image_rgb[starts[1] : ends[1], starts[0] : ends[0]]
    region = starts[0], starts[1], ends[0] - starts[0], ends[1] - starts[1]
    return Crop(region, jpeg_for_screen(np.ascontiguousarray(part), _CROP_PIXELS))


def whole_picture(image_rgb: np.ndarray) -> bytes:
    """A JPEG of an image [h, w, 3] uint8, of at most 1920 pixels a side."""
    return jpeg_for_screen(image_rgb, _PICTURE_PIXELS)
