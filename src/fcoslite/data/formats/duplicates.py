"""What must be unique in a data set and is not: refused, with what it is and where it stands."""

import posixpath
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np

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


def refuse_shared_files(images: Sequence[tuple[int, str]], path: Path) -> None:
    """Raise DataError if two images share a file; images are (id, file_name)."""
    pair = _first_pair(posixpath.normpath(name) for _, name in images)
    if pair is not None:
        (one, name), (other, again) = (images[place] for place in pair)
        names = name if name == again else f"{name} and {again}"
        raise DataError(
            f"{path} lists one file_name for two images: {names}, for image ids {one} and {other}",
            "give every image a file of its own",
        )


def _first_pair(values: Iterable[Hashable]) -> tuple[int, int] | None:
    """Positions of the first value that was there before, and of that; None if all differ."""
    seen: dict[Hashable, int] = {}
    for place, value in enumerate(values):
        if seen.setdefault(value, place) != place:
            return seen[value], place
    return None
