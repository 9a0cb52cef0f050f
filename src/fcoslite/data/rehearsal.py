"""Other images that are learned from beside a data set, so that what they show is not forgotten meanwhile.

Fine-tuning on one camera's frames alone forgets the rest of the world within an hour; with photographs among the frames
it does not: "rehearsal" (Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal").
"""

import logging
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import PurePosixPath

import numpy as np

from fcoslite.data.dataset import Dataset, RehearsedImage, seeded_order
from fcoslite.data.lazy import LazySequence
from fcoslite.errors import ConfigError, DataError

_log = logging.getLogger("fcoslite")


def with_rehearsal(dataset: Dataset, other: Dataset, apart: Collection[str] = ()) -> Dataset:
    """A data set with images of another one to be rehearsed: at most as many as it has itself.

    Args:
        dataset: Which has the split, and validation.
        other: Of the same classes. A sample that is always the same is taken where it is larger.
        apart: Names of files, without folders, that are left out, because something is judged by them; so are those of
            the data set's own files.

    Raises:
        ConfigError: Both are the same images.
        DataError: The other one has no box, or no image that is not left out.
    """
    if other.folder.resolve() == dataset.folder.resolve():
        raise ConfigError(f"what is to be rehearsed is the data itself, images of {other.folder}", "name other images")
    own = {PurePosixPath(image.file_name).name for image in dataset.images}.union(apart)
    usable = np.array([PurePosixPath(image.file_name).name not in own for image in other.images], bool)
    if not usable.any():
        raise DataError(f"{other.folder}: all images are those of the data, or of the package", "name other images")
    if not usable.all():
        left_out = len(usable) - int(np.count_nonzero(usable))
        text = "%s: %d images are not rehearsed: something is judged by images of the same name"
        _log.info(text, other.folder, left_out)
    places = np.flatnonzero(usable)
    ids = [other.images[place].image_id for place in places.tolist()]
    sample = places[seeded_order(ids, 0, "rehearsal")[: len(dataset.images)]]
    if not any(len(other.images[place].class_ids) for place in sample.tolist()):
        names = ", ".join(other.class_names)
        raise DataError(f"{other.folder} has no box of {names}", "persons without a box would be taught as background")

    def rehearsed(place: int) -> RehearsedImage:
        image = other.images[place]
        values = {field.name: getattr(image, field.name) for field in fields(image)}
        return RehearsedImage(**(values | {"split": None, "capture": None}))

    return replace(dataset, rehearsed=replace(other, images=LazySequence(rehearsed, sample)))
