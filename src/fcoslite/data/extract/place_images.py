"""Image files come to an output folder: as copies, or as links."""

import filecmp
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from fcoslite.errors import DataError
from fcoslite.progress import Progress
from fcoslite.storage.files import file_size
from fcoslite.storage.places import fetch, is_remote

_log = logging.getLogger("fcoslite")

Link = Literal["copy", "hardlink", "symlink"]


def place_images(placed: Mapping[str, str], images: Path, folder: Path, link: Link, progress: Progress) -> None:
    """Place image files; those that are there already, and are the same, stay.

    Args:
        placed: Name in the output, by that in the images folder.
        images: The images folder.
        folder: The output.
        link: How; where a link cannot be made, a copy is, with a warning.
        progress: Told about every image.
    """
    link_failed = False
    copy = folder / ".copy"  # renamed when it is whole
    with progress("Placing images", len(placed), "images") as advance:
        for name, new_name in placed.items():
            advance()
            target = folder / new_name
            if is_remote(images):
                if not target.is_file() or file_size(target) != file_size(images / name):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    fetch(images / name, copy)
                    copy.replace(target)
                continue
            original = os.path.realpath(images / name)
            if target.is_file():  # by a run before, which was killed: perhaps with the whole machine
                if filecmp.cmp(target, original, shallow=False):
                    continue
                target.unlink()
            target.parent.mkdir(parents=True, exist_ok=True)
            if link != "copy" and not link_failed:
                try:
                    os.link(original, target) if link == "hardlink" else target.symlink_to(original)
                    continue
                except OSError as error:
                    link_failed = True
                    _log.warning("cannot make a %s here (%s): copying instead", link, error.strerror)
            shutil.copyfile(original, copy)
            copy.replace(target)
    copy.unlink(missing_ok=True)


def refuse_lost_files(folder: Path, sizes: Mapping[str, int]) -> None:
    """Raise DataError if one of the files of a finished output is gone, or of another size in bytes."""
    for name, size in sizes.items():
        if file_size(folder / name) != size:
            raise DataError(f"{folder}/{name} is missing or of another size", "add --overwrite to make it again")
