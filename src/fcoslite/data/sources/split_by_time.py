"""The split of a camera's frames by time: whole stretches validate, and no frame beside them is trained on.

Two frames of one second are one picture: with one of them on either side, validation would reward learning by heart.
"""

import logging
from collections.abc import Sequence

import numpy as np

from fcoslite.data.dataset import LabelledImage
from fcoslite.errors import DataError

_STRETCHES = 5  # of them the last validates
_NEXT_AFTER = 600.0  # seconds, seen or not, until another stretch validates
_MOST_VALIDATING = 10  # stretches, of one camera: so many parts of a day are seen
_APART = 2.0  # seconds between what trains and what validates, at least

_log = logging.getLogger("fcoslite")


def split_by_time(images: Sequence[LabelledImage], most: int) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """The frames of each camera that validate, a fifth or less, and those that train.

    A camera's frames are cut into stretches of as many each, where they are farthest apart. Of every five the last
    validates; there are five for every ten minutes of frames, and for every pause as long, up to fifty. Frames that
    train and are nearer than two seconds to one that validates are left out.

    Args:
        images: Each with its capture.
        most: Frames that may validate; of more, so many evenly over time.

    Returns:
        Frames to validate on, by camera and time, and to train on, as given.

    Raises:
        DataError: Nothing is left to train on.
    """
    if not most:
        return [], list(images)
    moments = [(image.capture.camera, image.capture.time) for image in images if image.capture is not None]
    validating: list[int] = []
    training: list[int] = []
    for camera in sorted({name for name, _ in moments}):
        ours = [index for index, (name, _) in enumerate(moments) if name == camera]
        ours.sort(key=lambda index: (moments[index][1], images[index].image_id))
        held_out, apart = _parts(np.array([moments[index][1] for index in ours]))
        validating += [index for index, held in zip(ours, held_out, strict=True) if held]
        training += [index for index, far in zip(ours, apart, strict=True) if far]
    left_out = len(images) - len(validating) - len(training)
    if not training:
        raise DataError(
            f"of {len(images)} frames none is left to train on: they are all nearer than {_APART:g} s to those that "
            "validate",
            "collect over a longer time; or validate on none: --set data.validation_records=0",
        )
    if left_out:
        _log.info("%d frames nearer than %g s to frames that validate are left out", left_out, _APART)
    chosen = validating
    if len(validating) > most:
        chosen = [validating[place] for place in np.linspace(0, len(validating) - 1, most).round().astype(int)]
    return [images[index] for index in chosen], [images[index] for index in sorted(training)]


def _parts(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which frames of one camera, at ascending times [N] in seconds, validate, and which train: [N] bool each."""
    count = len(times)
    validating = 1 + int(np.minimum(np.diff(times) / _NEXT_AFTER, 1.0).sum())
    stretches = _STRETCHES * min(validating, _MOST_VALIDATING, count // _STRETCHES)
    held_out = np.zeros(count, bool)
    if not stretches:
        return held_out, ~held_out
    ends = [0, *(_cut(times, number, stretches) for number in range(1, stretches)), count]
    for number in range(_STRETCHES - 1, stretches, _STRETCHES):
        held_out[ends[number] : ends[number + 1]] = True
    held = np.concatenate([[-np.inf], times[held_out], [np.inf]])
    after = np.searchsorted(held, times)
    near = np.minimum(times - held[after - 1], held[after] - times) <= _APART
    return held_out, ~near


def _cut(times: np.ndarray, number: int, stretches: int) -> int:
    """Where a stretch begins: at the longest gap within a quarter of a stretch around where it would."""
    middle = number * len(times) // stretches
    reach = len(times) // (4 * stretches)
    places = range(max(1, middle - reach), min(len(times) - 1, middle + reach) + 1)
    return max(places, key=lambda place: (round(times[place] - times[place - 1], 3), -abs(place - middle)))
