"""Other images that are learned from beside a data set, so that what they show is not forgotten meanwhile.

Fine-tuning on one camera's frames alone forgets the rest of the world within an hour; with photographs among the frames
it does not: "rehearsal" (Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal").
"""

from dataclasses import replace

from fcoslite.data.dataset import REHEARSED, Dataset, LabelledImage, seeded_order
from fcoslite.data.lazy import LazySequence


def with_rehearsal(dataset: Dataset, other: Dataset) -> Dataset:
    """A data set with as many images of another one as it has itself, or all of these; none of them validates.

    Args:
        dataset: Of which the split is, and validation.
        other: Of the same classes. A sample that is always the same is taken where it is larger.
    """
    count = len(dataset.images)
    sample = seeded_order([image.image_id for image in other.images], 0, "rehearsal")[:count]
    first_id = 1 + max(image.image_id for image in dataset.images)

    def made(place: int) -> LabelledImage:
        if place < count:
            return dataset.images[place]
        number = place - count
        image = other.images[int(sample[number])]
        return replace(image, image_id=first_id + number, split=REHEARSED, capture=None)

    return replace(dataset, images=LazySequence(made, range(count + len(sample))), rehearsed=other)
