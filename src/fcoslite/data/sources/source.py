"""Sources of batches: records and a COCO folder are two of them, and yield the same batches.

A batch is a dict of
    images  [B, S, S, 3] uint8, letterboxed RGB
    boxes   [B, M, 5] float32: class id, x_min, y_min, x_max, y_max in letterboxed pixels; zeros are padding
    crowd   [B, M] bool
    scores  [B, M] float32: how sure a detector was that drew the box, 1 where a person did
M is the most boxes any image of the set has: no box is ever dropped.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fcoslite.data.dataset import LabelledImage
from fcoslite.geometry.letterbox import Letterbox

Batch = dict[str, Any]
# [h, w, 3] uint8 RGB and whose pixels they are -> as many pixels, uint8
Change = Callable[[np.ndarray, LabelledImage], np.ndarray]


@dataclass(frozen=True)
class BatchShare:
    """The rows of every batch that one of `of` processes reads, the others reading theirs."""

    index: int
    of: int

    def rows(self, batch_size: int) -> range:
        """Of a batch of that many images, which `of` must divide."""
        each = batch_size // self.of
        return range(self.index * each, (self.index + 1) * each)


WHOLE_BATCH = BatchShare(0, 1)


class Source(Protocol):
    """Images with boxes, in batches."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id - 1."""
        ...

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the whole set that this is a part of: the same images in the same order have the same."""
        ...

    @property
    def bad(self) -> Collection[int]:
        """Positions of the images that cannot be read."""
        ...

    def __len__(self) -> int:
        """Number of images, bad ones too."""
        ...

    def stretch(self, places: range) -> "Source":
        """The same source, of those of its images only that are at these places, bad ones counted."""
        ...

    def training_batches(
        self, batch_size: int, seed: int, first_step: int, share: BatchShare = WHOLE_BATCH
    ) -> Iterable[Batch]:
        """Endless full batches, or the rows of a share of each, shuffled anew each pass.

        What comes depends only on the arguments: batch k of a run is batch 0 of the run resumed at step k. No image is
        read but those that come.
        """
        ...

    def training_ids(self, batch_size: int, seed: int, step: int) -> list[int]:
        """Image ids of one batch of `training_batches`."""
        ...

    def evaluation_batches(
        self, batch_size: int, change: Change | None = None
    ) -> Iterator[tuple[Batch, list[LabelledImage]]]:
        """All images once, in order, with their ground truth in original pixels; the last batch may be short.

        Args:
            batch_size: Images.
            change: What becomes of each image before it is letterboxed; of records, which are, within the padding.
        """
        ...

    def letterboxed(
        self, step: int, change: Change | None = None
    ) -> Iterator[tuple[np.ndarray, Letterbox, LabelledImage]]:
        """All images once, in order, each [H, W, 3] uint8 with how it is letterboxed, and its ground truth.

        Args:
            step: See `Letterbox.fitting`; records are squares already.
            change: As of `evaluation_batches`.
        """
        ...


def steps_per_pass(images: int, batch_size: int) -> int:
    """Full batches in one pass over the data; at least 1: a smaller set is repeated to fill a batch."""
    return max(1, images // batch_size)


def digest(parts: Iterable[str]) -> str:
    """A fingerprint of a list of facts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def grouped(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items; the last may be shorter."""
    group: list[Any] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
