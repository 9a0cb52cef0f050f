"""Photographs as a camera that one watches with would have taken them: conditions of a fixed strength.

To measure by, in NumPy and OpenCV. What is random depends on the condition and the image's file name alone, so that all
detectors see the same pixels. `training/conditions.py` draws similar ones of any strength for training.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from fcoslite.data.images import decode_image, encode_picture

_GAMMA = 2.2  # pixel values are light to the power of 1 / 2.2
_MOTION = 15  # pixels


def take(condition: str, image_rgb: np.ndarray, file_name: str) -> np.ndarray:
    """An image under one of `CONDITIONS`.

    Args:
        condition: Its name.
        image_rgb: [h, w, 3] uint8.
        file_name: Of the image; decides what is random.

    Returns:
        [h, w, 3] uint8.
    """
    digest = hashlib.blake2b(f"{condition}:{file_name}".encode(), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(digest, "big"))
    taken = CONDITIONS[condition](image_rgb.astype(np.float32) / 255, random)
    return _to_bytes(np.broadcast_to(taken, image_rgb.shape))


def _grey(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """No colours, like an infrared camera by day."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]


def _dark(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Dusk: 6 % of the light, which is 24 photons for a white pixel, a sensor of its own noise, gain of 6."""
    light = random.poisson(image**_GAMMA * 24) / 400 + random.normal(0, 0.004, image.shape)
    return np.clip(6 * light, 0, 1) ** (1 / _GAMMA)


def _night(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Night under an infrared lamp: grey, half as bright at the middle of a side as in that of the image, noisy."""
    height, width = image.shape[:2]
    down, across = ((np.arange(sides) / sides - 0.5) ** 2 for sides in (height, width))
    lamp = 0.9 * np.exp(-3 * (down[:, None] + across))
    seen = lamp * cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) ** 1.3
    return (seen + random.normal(0, 0.05, seen.shape))[..., None]


def _noise(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise, a standard deviation of 25 in 255."""
    return image + random.normal(0, 25 / 255, image.shape)


def _motion(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Moved by 15 pixels along a line while the shutter was open."""
    angle = random.uniform(0, np.pi)
    reach = _MOTION // 2 + 1
    along = np.linspace(-_MOTION / 2, _MOTION / 2, 4 * _MOTION)
    # each point of the line goes to the four pixels around it
    down, across = (
        np.maximum(0, 1 - np.abs(np.arange(-reach, reach + 1) - places[:, None]))
        for places in (along * np.sin(angle), along * np.cos(angle))
    )
    return cv2.filter2D(image, -1, down.T @ across / len(along))


def _jpeg(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A stream of few bits: JPEG of quality 8."""
    encoded = encode_picture(_to_bytes(image), ".jpg", jpeg_quality=8)
    return decode_image(encoded, Path("jpeg")) / 255


def _lowres(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A quarter of the pixels on each axis, enlarged again."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _fog(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A third of the contrast, and bright."""
    return 0.35 * image + 0.6


# [h, w, 3] in [0, 1] -> [h, w, 3], or of one channel, where what is beyond [0, 1] will be cut off
CONDITIONS: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "grey": _grey,
    "dark": _dark,
    "night": _night,
    "noise": _noise,
    "motion": _motion,
    "jpeg": _jpeg,
    "lowres": _lowres,
    "fog": _fog,
}


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
