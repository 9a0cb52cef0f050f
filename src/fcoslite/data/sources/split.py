"""The split of records: which validate, and how the rest is cut into chunks."""

from collections.abc import Sequence
from dataclasses import dataclass

from fcoslite.config.settings import DataSettings
from fcoslite.data.dataset import Dataset, LabelledImage, seeded_order
from fcoslite.data.sources.split_by_time import split_by_time
from fcoslite.errors import DataError


@dataclass(frozen=True, slots=True)
class Split:
    """Ranges of record positions; `chunks` tile `training`, and nothing of `validation` is ever trained on."""

    validation: range
    training: range
    chunks: tuple[range, ...]

    def chunk(self, number: int | None) -> range:
        """The records of chunk `number`, counted from 1; all training records for None.

        Raises:
            DataError: There is no such chunk.
        """
        if number is None:
            return self.training
        if not 1 <= number <= len(self.chunks):
            raise DataError(f"there is no chunk {number}", f"these records make chunks 1 to {len(self.chunks)}")
        return self.chunks[number - 1]


def split(count: int, settings: DataSettings, validation: int | None = None) -> Split:
    """Split `count` records.

    The first `validation_records`, but at most a fifth of a small set, validate, or the first `validation`. The rest
    is cut into chunks of `chunk_records`; a rest that fits in one chunk is cut into four, so that training chunk by
    chunk works on any set.

    Raises:
        DataError: Nothing is left to train on.
    """
    if validation is None:
        validation = min(settings.validation_records, count // 5)
    training = range(validation, count)
    if not training:
        raise DataError("the records hold no image to train on", "extract more images")
    size = settings.chunk_records
    if len(training) <= size:
        size = -(-len(training) // 4)
    starts = range(training.start, training.stop, size)
    chunks = tuple(range(start, min(start + size, training.stop)) for start in starts)
    return Split(range(validation), training, chunks)


def split_dataset(dataset: Dataset, settings: DataSettings, seed: int) -> tuple[tuple[LabelledImage, ...], Split]:
    """Split the images of a folder.

    They are in the order that records of the same set have, so that both split alike. Where the data set itself says
    which images are of `train`, and which of `val`, these train and validate, and the others are left out. Frames of a
    camera, with times, are split by time. As many rehearsed images as train, at most, come last, and train, too.

    Returns:
        The images, those to validate on first, and the ranges of their positions.

    Raises:
        DataError: Nothing is left to train on.
    """
    order = seeded_order([image.image_id for image in dataset.images], seed, "records")
    images, parts = _split([dataset.images[index] for index in order.tolist()], settings)
    if dataset.rehearsed is None:
        return images, parts
    images = (*images, *dataset.rehearsed.images[: len(parts.training)])
    return images, split(len(images), settings, len(parts.validation))


def _split(ordered: Sequence[LabelledImage], settings: DataSettings) -> tuple[tuple[LabelledImage, ...], Split]:
    training = [image for image in ordered if image.split == "train"]
    if not training and any(image.capture is not None for image in ordered):
        return _split_frames(ordered, settings)
    if not training:
        return tuple(ordered), split(len(ordered), settings)
    validation = [image for image in ordered if image.split == "val"][: settings.validation_records]
    images = (*validation, *training)
    return images, split(len(images), settings, len(validation) or None)


def _split_frames(ordered: Sequence[LabelledImage], settings: DataSettings) -> tuple[tuple[LabelledImage, ...], Split]:
    """Split by time what has times, and the first of the rest from its others, as ever."""
    frames = [image for image in ordered if image.capture is not None]
    photographs = [image for image in ordered if image.capture is None]
    validation, training = split_by_time(frames, settings.validation_records)
    held_out = min(settings.validation_records - len(validation), len(photographs) // 5)
    validation += photographs[:held_out]
    images = (*validation, *training, *photographs[held_out:])
    return images, split(len(images), settings, len(validation))
