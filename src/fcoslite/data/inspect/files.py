"""The image files of a data set: which cannot be used, and which show the same photograph."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.images import UnusableImageError
from fcoslite.data.inspect.near_hashes import near_groups, perceptual_hash
from fcoslite.data.inspect.pictures import Pictures
from fcoslite.data.skipped import SkippedImage, skipped_image
from fcoslite.machine.threads import map_in_order, one_opencv_thread
from fcoslite.progress import Progress, no_progress


@dataclass(frozen=True)
class Duplicates:
    """Images that show the same photograph.

    Attributes:
        images: Their positions in the table.
        same_bytes: Their files are the same, byte by byte; else they only look alike.
        splits: That they are of.
    """

    images: tuple[int, ...]
    same_bytes: bool
    splits: tuple[str, ...]

    @property
    def shared(self) -> bool:
        """Whether more than one split has it."""
        return len(self.splits) > 1


@dataclass(frozen=True)
class FileFindings:
    """What opening image files has shown.

    Attributes:
        opened: Positions in the table of those that were opened and can be used.
        unusable: Those that cannot.
        hint: What is the matter with most of the first of these, and what to do; empty without any.
        duplicates: Groups, those that splits share first, then the largest.
    """

    opened: tuple[int, ...]
    unusable: tuple[SkippedImage, ...]
    hint: str
    duplicates: tuple[Duplicates, ...]

    @property
    def shared(self) -> tuple[Duplicates, ...]:
        """The duplicates that more than one split has."""
        return tuple(group for group in self.duplicates if group.shared)

    def document(self, table: AnnotationTable) -> dict[str, Any]:
        """All in plain words."""
        return {
            "opened": len(self.opened) + len(self.unusable),
            "reasons": dict(Counter(image.reason for image in self.unusable).most_common()),
            "hint": self.hint,
            "unusable": [
                {"image_id": image.image_id, "file_name": image.file_name, "reason": image.reason}
                for image in self.unusable
            ],
            "duplicates": [
                {
                    "same_bytes": group.same_bytes,
                    "splits": list(group.splits),
                    "files": [table.images[index].file_name for index in group.images],
                }
                for group in self.duplicates
            ],
        }


class _Seen(NamedTuple):
    digest: bytes
    perceptual: int | None


def open_files(
    table: AnnotationTable,
    pictures: Pictures,
    indexes: Sequence[int],
    workers: int,
    progress: Progress = no_progress,
) -> FileFindings:
    """Read and decode image files, and compare them.

    Args:
        table: The data set.
        pictures: Its pictures.
        indexes: Positions of the images to open, ascending.
        workers: Threads.
        progress: Told of every image.
    """

    def look(index: int) -> _Seen | SkippedImage:
        try:
            content, pixels = pictures.read(index)
        except UnusableImageError as error:
            return skipped_image(table.images[index], error)
        return _Seen(hashlib.sha256(content).digest()[:16], perceptual_hash(pixels))

    seen: dict[int, _Seen] = {}
    unusable: list[SkippedImage] = []
    with (
        progress("Opening images", len(indexes), "images") as advance,
        one_opencv_thread(),
        closing(map_in_order(look, indexes, workers)) as looked,
    ):
        for index, found in zip(indexes, looked, strict=True):
            if isinstance(found, SkippedImage):
                unusable.append(found)
            else:
                seen[index] = found
            advance()
    hint = pictures.explain(unusable, indexes) if unusable else ""
    return FileFindings(tuple(seen), tuple(unusable), hint, _duplicates(table, seen))


def _duplicates(table: AnnotationTable, seen: dict[int, _Seen]) -> tuple[Duplicates, ...]:
    by_digest: dict[bytes, list[int]] = {}
    for index, (digest, _) in seen.items():
        by_digest.setdefault(digest, []).append(index)
    copies = list(by_digest.values())
    hashes = [seen[images[0]].perceptual for images in copies]
    comparable = [place for place, value in enumerate(hashes) if value is not None]
    group_of = np.arange(len(copies))
    groups = near_groups(np.array([hashes[place] for place in comparable], np.uint64))
    group_of[comparable] = np.array(comparable, np.int64)[groups]
    members: dict[int, list[int]] = {}
    for place, group in enumerate(group_of.tolist()):
        members.setdefault(group, []).append(place)
    found = []
    for places in members.values():
        images = sorted(index for place in places for index in copies[place])
        if len(images) > 1:
            splits = {table.images[index].split for index in images} - {None}
            found.append(Duplicates(tuple(images), len(places) == 1, tuple(sorted(filter(None, splits)))))
    return tuple(sorted(found, key=lambda group: (not group.shared, -len(group.images), group.images)))
