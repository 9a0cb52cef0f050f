"""White rectangles on black, whose boxes can be read off the pixels after any change."""

import numpy as np
from keras import ops

from fcoslite.config.settings import AugmentSettings
from fcoslite.geometry.batch_images import normalise
from fcoslite.geometry.letterbox import PAD_COLOUR
from fcoslite.training.augment import Augment

PAD = PAD_COLOUR / 255
_OFF = {"flip_probability": 0, "brightness": 0, "noise": 0}


def augment(size=32, seed=0, batch_size=8, **settings) -> Augment:
    """The layer with everything off but what is named."""
    return Augment(AugmentSettings.model_validate({**_OFF, **settings}), size, batch_size, seed)


def numpy(values) -> tuple[np.ndarray, ...]:
    return tuple(ops.convert_to_numpy(value) for value in values)


def batch(count=8, size=32, least=2):
    """Black images with a white rectangle, and the box around it."""
    rng = np.random.default_rng(0)
    images = np.zeros((count, size, size, 3), np.uint8)
    boxes = np.zeros((count, 2, 6), np.float32)
    for row in range(count):
        x1, y1 = rng.integers(0, size // 2, 2)
        x2, y2 = x1 + rng.integers(least, size // 2), y1 + rng.integers(least, size // 2)
        images[row, y1:y2, x1:x2] = 255
        boxes[row, 0] = [1, x1, y1, x2, y2, 0]
    return normalise(images), boxes
