"""A COCO folder as a source of batches, through OpenCV: no records, no TensorFlow."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, tee

import numpy as np

from fcoslite.data.dataset import Dataset, LabelledImage
from fcoslite.data.image_files_hint import explain
from fcoslite.data.images import read_labelled
from fcoslite.data.skipped import go_without, summary, try_images
from fcoslite.data.sources.source import WHOLE_BATCH, Batch, BatchShare, Change, digest, grouped, steps_per_pass
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.machine.threads import map_in_order
from fcoslite.progress import Progress, no_progress


@dataclass(frozen=True)
class FolderSource:
    """A COCO data set read image by image, without records and without TensorFlow.

    Attributes:
        dataset: Images and boxes.
        images: The images used, in order.
        image_size: Side to letterbox to, pixels.
        workers: Decoding threads.
        bad: Positions in `images` of those that cannot be decoded. In training the next good one stands in for each,
            so that the others keep their places and a run can be resumed whatever was lost; in evaluation they are left
            out.
    """

    dataset: Dataset
    images: Sequence[LabelledImage]
    image_size: int
    workers: int
    bad: frozenset[int] = frozenset()

    def checked(self, skip_bad_records: bool = False, progress: Progress = no_progress) -> "FolderSource":
        """The same source, after every image was decoded once.

        Args:
            skip_bad_records: Whether to go without the images that cannot be.
            progress: Told about every image.

        Raises:
            DataError: Images cannot be used and may not be skipped, or none is left.
        """
        with (
            progress("Checking images", len(self), "images") as advance,
            closing(try_images(self.images, self._pixels, self.workers)) as tried,
        ):
            bad = {}
            for position, problem in enumerate(tried):
                advance()
                if problem is not None:
                    bad[position] = problem
        if not bad:
            return self
        origin = self.dataset.origin(self.images[min(bad)])
        images = [image for image in self.images if self.dataset.origin(image) is origin]
        of_one = [problem for place, problem in bad.items() if self.dataset.origin(self.images[place]) is origin]
        why = explain(of_one, images, origin.folder)
        elsewhere = f", and {len(bad) - len(of_one)} of what is rehearsed" if len(bad) > len(of_one) else ""
        message = f"{origin.folder}: {summary(of_one, len(images))}{elsewhere}"
        hint = f"{why}, or make a data set without them with `fcoslite extract` and its --max-skipped"
        return replace(self, bad=go_without(bad, len(self), message, hint, skip_bad_records))

    def stretch(self, places: range) -> "FolderSource":
        """See `Source`."""
        bad = frozenset(position - places.start for position in self.bad if position in places)
        return replace(self, images=self.images[places.start : places.stop], bad=bad)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id - 1."""
        return self.dataset.class_names

    @property
    def fingerprint(self) -> str:
        """See `Source`."""
        return fingerprint_of(self.dataset)

    @cached_property
    def _most_boxes(self) -> int:
        parts = (self.dataset, self.dataset.rehearsed)
        return max(1, *(len(image.boxes_xyxy) for part in parts if part is not None for image in part.images))

    def __len__(self) -> int:
        return len(self.images)

    def training_batches(
        self, batch_size: int, seed: int, first_step: int, share: BatchShare = WHOLE_BATCH
    ) -> Iterable[Batch]:
        """See `Source`."""
        rows = share.rows(batch_size)
        shared = (group[rows.start : rows.stop] for group in self._shuffled(batch_size, seed, first_step))
        return (batch for batch, _ in self._load(shared))

    def training_ids(self, batch_size: int, seed: int, step: int) -> list[int]:
        """See `Source`."""
        return [image.image_id for image in next(self._shuffled(batch_size, seed, step))]

    def _shuffled(self, batch_size: int, seed: int, first_step: int) -> Iterator[list[LabelledImage]]:
        """The images of `training_batches`."""
        usable = np.setdiff1d(np.arange(len(self)), list(self.bad))
        good = usable[np.searchsorted(usable, np.arange(len(self))) % len(usable)]  # the next, if it is not itself
        steps = steps_per_pass(len(self), batch_size)
        number, step = divmod(first_step, steps)
        while True:
            order = np.random.default_rng([seed, number]).permutation(len(self))
            # a set smaller than a batch is repeated
            order = np.resize(order, max(len(order), batch_size))
            for start in range(step * batch_size, steps * batch_size, batch_size):
                yield [self.images[good[index]] for index in order[start : start + batch_size]]
            number, step = number + 1, 0

    def evaluation_batches(
        self, batch_size: int, change: Change | None = None
    ) -> Iterator[tuple[Batch, list[LabelledImage]]]:
        """See `Source`."""
        return self._load(grouped(self._usable(), batch_size), change)

    def letterboxed(
        self, step: int, change: Change | None = None
    ) -> Iterator[tuple[np.ndarray, Letterbox, LabelledImage]]:
        """See `Source`."""

        def read(image: LabelledImage) -> tuple[np.ndarray, Letterbox, LabelledImage]:
            letterbox = Letterbox.fitting(image.height, image.width, self.image_size, step)
            return self._read(image, letterbox, change), letterbox, image

        return map_in_order(read, self._usable(), self.workers)

    def _usable(self) -> Iterator[LabelledImage]:
        return (image for position, image in enumerate(self.images) if position not in self.bad)

    def _load(
        self, groups: Iterable[list[LabelledImage]], change: Change | None = None
    ) -> Iterator[tuple[Batch, list[LabelledImage]]]:
        """Decode groups of images, a few images ahead of the group that is asked for."""
        ahead, now = tee(groups)

        def read(image: LabelledImage) -> np.ndarray:
            return self._read(image, Letterbox.square(image.height, image.width, self.image_size), change)

        pixels = map_in_order(read, chain.from_iterable(ahead), self.workers)
        for group in now:
            yield self._collect(group, [next(pixels) for _ in group]), group

    def _pixels(self, image: LabelledImage) -> np.ndarray:
        origin = self.dataset.origin(image)
        return read_labelled(image, origin.folder, origin.follow_links)

    def _read(self, image: LabelledImage, letterbox: Letterbox, change: Change | None) -> np.ndarray:
        pixels = self._pixels(image)
        if change is not None:
            pixels = change(pixels, image)
        return letterbox.apply_image(pixels)

    def _collect(self, group: list[LabelledImage], pixels: list[np.ndarray]) -> Batch:
        most, size = self._most_boxes, self.image_size
        boxes = np.zeros((len(group), most, 5), np.float32)
        crowd = np.zeros((len(group), most), bool)
        scores = np.zeros((len(group), most), np.float32)
        for row, image in enumerate(group):
            count = len(image.boxes_xyxy)
            letterbox = Letterbox.square(image.height, image.width, size)
            boxes[row, :count, 0] = image.class_ids
            boxes[row, :count, 1:] = letterbox.apply_boxes(image.boxes_xyxy)
            crowd[row, :count] = image.iscrowd
            scores[row, :count] = image.scores
        return {"images": np.stack(pixels), "boxes": boxes, "crowd": crowd, "scores": scores}


def fingerprint_of(dataset: Dataset) -> str:
    """Of its own images, and not of those that are rehearsed."""
    return digest(fact for image in dataset.images for fact in _facts(image))


def _facts(image: LabelledImage) -> tuple[str, ...]:
    """All that batches take from an image but its pixels."""
    labels = [image.boxes_xyxy, image.class_ids, image.iscrowd]
    if (image.scores < 1).any():  # without, it is what it was before there were scores: a run of then goes on
        labels.append(image.scores)
    when = () if image.capture is None else (image.capture.camera, repr(image.capture.time))  # they decide the split
    return (str(image.image_id), image.file_name, *(array.tobytes().hex() for array in labels), *when)
