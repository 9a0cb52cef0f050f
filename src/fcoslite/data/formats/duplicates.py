"""What must be unique in a data set and is not: refused, with what it is and where it stands."""

import posixpath
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np

from fcoslite.data.dataset import ImageRecord
from fcoslite.errors import DataError


def refuse_duplicate_ids(ids: np.ndarray, what: str, path: Path, where: Callable[[int], str]) -> None:
    """Raise DataError if an id is there twice.

    Args:
        ids: [N] int64.
        what: Such as `image id`.
        path: Of the file, for the message.
        where: Says to what the id at a position belongs.
    """
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        first, second, *_ = np.flatnonzero(ids == twice[0]).tolist()
        raise DataError(
            f"{path} uses {what} {twice[0]} twice: for {where(first)} and {where(second)}",
            f"every {what} must be unique: renumber them",
        )


def refuse_duplicate_categories(categories: Sequence[tuple[int, str]], path: Path, section: str = "categories") -> None:
    """Raise DataError if an id or a name is there twice; spaces around a name do not count.

    Args:
        categories: Ids and names.
        path: Of the file, for the message.
        section: Of the file that lists them, for the hint.
    """
    hint = f"make ids and names in `{section}` unique"
    if (pair := _first_pair(number for number, _ in categories)) is not None:
        (number, name), (_, other_name) = (categories[place] for place in pair)
        raise DataError(f"{path} uses category id {number} twice: for '{name}' and '{other_name}'", hint)
    if (pair := _first_pair(name.strip() for _, name in categories)) is not None:
        (number, name), (other, again) = (categories[place] for place in pair)
        if name == again:
            raise DataError(f"{path} uses category name '{name}' twice: for ids {number} and {other}", hint)
        differ = f"differ only in spaces around them: '{name}' and '{again}'"
        raise DataError(f"{path}: names of the categories {number} and {other} {differ}", hint)


def refuse_shared_files(images: Sequence[ImageRecord], path: Path) -> None:
    """Raise DataError if two images share a file."""
    # of millions of names no more than their hashes are held
    hashes = np.fromiter((hash(posixpath.normpath(image.file_name)) for image in images), np.int64, len(images))
    ordered = np.sort(hashes)
    alike = np.flatnonzero(np.isin(hashes, ordered[1:][ordered[1:] == ordered[:-1]]))
    pair = _first_pair(posixpath.normpath(images[index].file_name) for index in alike.tolist())
    if pair is not None:
        one, other = (images[int(alike[place])] for place in pair)
        names = one.file_name if one.file_name == other.file_name else f"{one.file_name} and {other.file_name}"
        raise DataError(
            f"{path} lists one file_name for two images: {names}, for image ids {one.image_id} and {other.image_id}",
            "give every image a file of its own",
        )


def _first_pair(values: Iterable[Hashable]) -> tuple[int, int] | None:
    """Positions of the first value that was there before, and of that; None if all differ."""
    seen: dict[Hashable, int] = {}
    for place, value in enumerate(values):
        if seen.setdefault(value, place) != place:
            return seen[value], place
    return None
