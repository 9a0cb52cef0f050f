"""A data set as labelled images, and its seeded order."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file and its boxes.

    Attributes:
        image_id: COCO's id.
        file_name: Relative to the images folder.
        height: Pixels.
        width: Pixels.
        boxes_xyxy: [N, 4] float32, pixels of the original image, inside it.
        class_ids: [N] int32; 1 is the first of the data set's class names.
        iscrowd: [N] bool, the box covers a group.
        areas: [N] float32, area of the segment (not of the box), square pixels.
        scores: [N] float32 in (0, 1], how sure a detector was that drew the box; 1 where a person did.
    """

    image_id: int
    file_name: str
    height: int
    width: int
    boxes_xyxy: np.ndarray
    class_ids: np.ndarray
    iscrowd: np.ndarray
    areas: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class CocoDataset:
    """Labelled images by image id, ascending.

    Attributes:
        images: All images of the file, those without a box too.
        class_names: Names by class id - 1.
        category_ids: The file's own category ids by class id - 1.
        folder: Where the image files are.
        follow_links: Links out of the folder are meant.
    """

    images: tuple[LabelledImage, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    folder: Path
    follow_links: bool = False


def seeded_order(image_ids: Iterable[int], seed: int, purpose: str) -> list[int]:
    """Shuffle image ids the same way on every machine and for every version of numpy.

    Each id gets its place by a hash of its own, so the order of the rest does not change with an image
    more or less, and the first n of a shuffle are among its first n + 1. `purpose` keeps the shuffles of
    different steps independent: a sample taken by one must not come first in the next.
    """

    def place(image_id: int) -> bytes:
        return hashlib.blake2b(f"{purpose}:{seed}:{image_id}".encode(), digest_size=16).digest()

    return sorted(image_ids, key=place)
