"""Whether something moves in front of a camera, by a model of the background."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from fcoslite.data.inspect.near_hashes import perceptual_hash

LOOKS_PER_SECOND = 5.0

_WIDTH = 320  # pixels of the copy that is looked at
_REMEMBERED = 500  # looks, a hundred seconds: what stands for longer is background
_DIFFERENT = 16.0  # squared distance from the background in its own standard deviations: OpenCV's default
_LEAST = 0.001  # share of the picture that the largest moving thing covers: a person of 60 pixels height at 1080p
_WARM_UP = 10  # looks until the background is known
_SPECKLES = np.ones((3, 3), np.uint8)  # what is smaller is noise


@dataclass(frozen=True)
class Look:
    """What a look at a picture told.

    Attributes:
        moved: Something moves, and did at the look before: what is there for one picture only is a fault of it.
        warm: The background is known; else `moved` is False and means nothing.
        silhouette: Perceptual hash of the silhouettes of what moves, where they are in the picture.
    """

    moved: bool
    warm: bool
    silhouette: int | None


class Motion:
    """Watches one camera.

    The background is a mixture of Gaussians for each pixel (MOG2 of OpenCV) of a small grey copy.
    """

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._looks = 0
        self._moved = False
        self._background: Any = None

    def look(self, image_rgb: np.ndarray) -> Look:
        """Look at the next picture, some `LOOKS_PER_SECOND` of which make a second.

        Args:
            image_rgb: [h, w, 3] uint8; of another size than before, the background is learned anew.
        """
        if image_rgb.shape != self._shape:
            self._start_anew(image_rgb.shape)
        height = max(1, round(_WIDTH * image_rgb.shape[0] / image_rgb.shape[1]))
        small = cv2.resize(image_rgb, (_WIDTH, height), interpolation=cv2.INTER_AREA)
        differs = self._background.apply(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        self._looks += 1
        if self._looks <= _WARM_UP:
            return Look(moved=False, warm=False, silhouette=None)
        things = cv2.morphologyEx(differs, cv2.MORPH_OPEN, _SPECKLES)
        _, _, sizes, _ = cv2.connectedComponentsWithStats(things)
        largest = sizes[1:, cv2.CC_STAT_AREA].max(initial=0)  # the first is the background
        moves, moved = bool(largest >= _LEAST * things.size), self._moved
        self._moved = moves
        silhouette = perceptual_hash(cv2.cvtColor(things, cv2.COLOR_GRAY2RGB)) if moves and moved else None
        return Look(moved=moves and moved, warm=True, silhouette=silhouette)

    def _start_anew(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._looks = 0
        self._moved = False
        self._background = cv2.createBackgroundSubtractorMOG2(_REMEMBERED, _DIFFERENT, detectShadows=False)
