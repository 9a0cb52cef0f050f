"""The split of records: which validate, and how the rest is cut into chunks."""

from dataclasses import dataclass

from fcoslite.config.settings import DataSettings
from fcoslite.data.dataset import Dataset, LabelledImage, seeded_order
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


def split(count: int, settings: DataSettings) -> Split:
    """Split `count` records.

    The first `validation_records`, but at most a fifth of a small set, validate. The rest is cut into chunks of
    `chunk_records`; a rest that fits in one chunk is cut into four, so that training chunk by chunk works on any
    set.

    Raises:
        DataError: Nothing is left to train on.
    """
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


def in_split_order(dataset: Dataset, seed: int) -> tuple[LabelledImage, ...]:
    """The images of a folder in the order that records of the same set have, so that both split alike."""
    by_id = {image.image_id: image for image in dataset.images}
    return tuple(by_id[image_id] for image_id in seeded_order(by_id, seed, "records"))
