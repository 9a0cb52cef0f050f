"""The choice of images that an extract takes."""

import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice

import numpy as np

from fcoslite.data.dataset import AnnotationTable, seeded_order
from fcoslite.data.images import follows_links, read_labelled
from fcoslite.data.lazy import picked
from fcoslite.data.skipped import SkippedImage, try_images
from fcoslite.errors import DataError
from fcoslite.progress import Progress

_log = logging.getLogger("fcoslite")


def _every(indexes: Sequence[int]) -> Generator[int, None, None]:
    yield from indexes


def select_images(
    source: AnnotationTable,
    limit: int | None,
    negatives: float,
    seed: int,
    usable: Callable[[Sequence[int]], Generator[int, None, None]] = _every,
) -> tuple[list[int], int]:
    """Choose images with a box of the classes, and a sample of those without any.

    Args:
        source: The data set.
        limit: Most images with a box.
        negatives: Images without, as a fraction of those taken with a box.
        seed: Of both samples.
        usable: Yields, in order, those of some indexes whose image may be taken.

    Returns:
        Indexes into `source.images`, ascending, and how many of them are negatives.

    Raises:
        DataError: No image has a box of the classes.
    """
    with_box = np.diff(source.starts) > 0
    if not with_box.any():
        names = ", ".join(source.class_names)
        raise DataError(f"{source.path} has no box of {names}", "choose other classes with --classes")

    def sample(candidates: np.ndarray, count: int | None, purpose: str) -> list[int]:
        indexes = np.flatnonzero(candidates)
        ids = np.fromiter((source.images[index].image_id for index in indexes.tolist()), np.int64, len(indexes))
        order = indexes[seeded_order(ids, seed, purpose)].tolist()
        with closing(usable(order)) as taken:
            return list(islice(taken, count))

    positive = sample(with_box, limit, "extract-positive")
    wanted = round(negatives * len(positive))
    # an image whose only person has an unusable box is no negative
    negative = sample(~source.mentions_class, wanted, "extract-negative")
    if len(negative) < wanted:
        _log.warning("%d negatives were asked for, %d were found", wanted, len(negative))
    return sorted(positive + negative), len(negative)


def usable_images(
    indexes: Sequence[int], source: AnnotationTable, skipped: list[SkippedImage], progress: Progress
) -> Generator[int, None, None]:
    """Those whose image can be decoded; the others are added to `skipped`."""
    images = picked(source.images, indexes)
    read = partial(read_labelled, folder=source.folder, follow_links=follows_links(source.folder))
    tried = try_images(images, read, os.cpu_count() or 1)
    with progress("Checking images", len(indexes), "images") as advance, closing(tried):
        for index, problem in zip(indexes, tried, strict=True):
            advance()
            if problem is None:
                yield index
            else:
                skipped.append(problem)
