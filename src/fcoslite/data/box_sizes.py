"""COCO's three sizes of objects, by the area of the segment."""

import numpy as np

SIZES = ("small", "medium", "large")
_BORDERS = (32.0**2, 96.0**2)  # square pixels


def sizes_of(areas: np.ndarray) -> np.ndarray:
    """Places [N] in `SIZES` of areas [N]; what lies on a border is of the larger size."""
    return np.digitize(areas, _BORDERS)
