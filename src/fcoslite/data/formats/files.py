"""Files and folders of data sets: images by name, texts, splits."""

import logging
import os
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from fcoslite.data.dataset import UNKNOWN_SIDES, ImageRecord
from fcoslite.data.formats.table import check_file_name
from fcoslite.data.image_formats import is_image
from fcoslite.data.images import UnusableImageError, follows_links, read_sides
from fcoslite.errors import DataError, closest
from fcoslite.machine.threads import map_in_order

_log = logging.getLogger("fcoslite")

_SPLIT = re.compile(r"(train|val|test)(?:ing|id|idation)?\d*", re.IGNORECASE)
_LONGEST = 1 << 28  # bytes of a text file

_Part = TypeVar("_Part")


def images_below(folder: Path, root: Path) -> list[str]:
    """The images in a folder and those below it, by name, hidden ones left out: relative to `root`."""
    return [path for path in files_below(folder, root) if is_image(Path(path))]


def files_below(folder: Path, root: Path) -> list[str]:
    """The files in a folder and those below it, sorted, hidden ones left out: relative to `root`."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        within = Path(place).relative_to(root)
        found += [(within / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(found)


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: It is missing, not UTF-8, or too large.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # what is not a regular file might never end
            raise DataError(f"{path} is not a file", "check the data set")
        if found.st_size > _LONGEST:
            raise DataError(f"{path} has more than {_LONGEST:,} bytes", "is it what its name says?")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: byte {error.start}", "write it again in that encoding") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {str(error.strerror).lower()}", "check the data set") from None


def split_of(name: str) -> str | None:
    """The split that a folder or file is called after: `valid` and `val2017` are `val`; None for another word."""
    match = _SPLIT.fullmatch(name)
    return match[1].lower() if match else None


def by_split(files: Sequence[tuple[str, _Part]]) -> dict[str, _Part]:
    """Files, or what they hold, by the splits of the words that they are called after.

    Where two are of one split, such as train2014 and train2017, both keep their words. So does another word.
    """
    splits = [split_of(word) or word for word, _ in files]
    return {word if splits.count(split) > 1 else split: one for split, (word, one) in zip(splits, files, strict=True)}


def choose_splits(parts: Mapping[str, _Part], wanted: str | None, path: Path) -> dict[str, _Part]:
    """Of the parts of a data set the one that is wanted, else all.

    Raises:
        DataError: There is no such split; or all are wanted, and several are of one, such as train2014 and train2017,
            which may hold the same images.
    """
    if wanted is None:
        of_split: dict[str, list[str]] = {}
        for name in parts:
            of_split.setdefault(split_of(name) or name, []).append(name)
        if several := next((names for names in of_split.values() if len(names) > 1), None):
            hint = f"name the file of one in place of the folder, or, where there is a --split: --split {several[-1]}"
            raise DataError(f"{path} has {' and '.join(several)}", hint)
        return dict(parts)
    name = wanted if wanted in parts else split_of(wanted) or wanted
    if name not in parts:
        there = f"it has: {', '.join(parts)}"
        near = closest(name, list(parts))
        hint = f"{near} ({there})" if near else there if parts else "leave --split out: it is not divided"
        raise DataError(f"{path} has no split '{wanted}'", hint)
    return {name: parts[name]}


def number_images(names: Mapping[str, str | None], folder: Path) -> tuple[ImageRecord, ...]:
    """Image records of files, with their splits, numbered from 1, with the sides that their headers tell.

    A file whose header cannot be read is given sides of 1 pixel, with a warning: whoever decodes it says why.
    """
    sides = sides_of(names, folder)
    return tuple(
        ImageRecord(number, name, height, width, split)
        for number, ((name, split), (height, width)) in enumerate(zip(names.items(), sides, strict=True), start=1)
    )


def sides_of(names: Collection[str], folder: Path) -> list[tuple[int, int]]:
    """Height and width of images by their headers; (1, 1), with a warning, where one cannot be read.

    Raises:
        DataError: A name may lead out of the folder.
    """
    for name in names:
        check_file_name(name, folder)
    follow_links = follows_links(folder)
    problems: list[UnusableImageError] = []

    def look(name: str) -> tuple[int, int]:
        try:
            return read_sides(name, folder, follow_links)
        except UnusableImageError as error:
            problems.append(error)
            return UNKNOWN_SIDES

    sides = list(map_in_order(look, names, os.cpu_count() or 1, ahead=64))
    if problems:
        _log.warning("%d images cannot be read; the first: %s", len(problems), problems[0].message)
    return sides
