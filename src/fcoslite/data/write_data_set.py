"""What `extract` and `convert` share: bad images are refused, and a data set is written whole, once, or not at all."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.extract.place_images import place_images, refuse_lost_files
from fcoslite.data.image_files_hint import explain
from fcoslite.data.skipped import SkippedImage, refuse_too_many, summary, write_skipped
from fcoslite.errors import DataError
from fcoslite.progress import Progress
from fcoslite.storage.files import write_json
from fcoslite.storage.space import check_free_space
from fcoslite.storage.staged_folder import MANIFEST, is_finished, staged_bytes, staged_folder

_log = logging.getLogger("fcoslite")


def refuse_unusable(
    skipped: Sequence[SkippedImage], looked_at: int, nothing_left: bool, source: AnnotationTable, max_skipped: str
) -> None:
    """Stop because of the images that cannot be used.

    Args:
        skipped: Which.
        looked_at: Images in all.
        nothing_left: Whether there is no data set without them.
        source: That they are of.
        max_skipped: Most that may be left out: a count, or a share such as `1%`.

    Raises:
        DataError: Nothing is left.
        TooManySkippedError: There are more.
    """
    why = partial(explain, images=source.images, folder=source.folder)
    if nothing_left:
        raise DataError(f"{source.folder}: {summary(skipped, looked_at)}", why(skipped))
    refuse_too_many(skipped, looked_at, max_skipped, "--dry-run -v names them all", why)


@dataclass(frozen=True)
class Output:
    """A data set that is to be written.

    Attributes:
        out: Its folder.
        manifest: What its manifest.json says.
        job: Digest of all that it is made of.
        images: Folder of the image files.
        placed: Name in `out`, by that in `images`.
        sizes: Of the image files by the name in `images`, bytes.
        link: How they come to `out`.
        skipped: Images that are left out.
        looked_at: Images in all.
        needed_bytes: On the disk.
        to_save: What makes it need less, for a message.
    """

    out: Path
    manifest: Mapping[str, Any]
    job: str
    images: Path
    placed: Mapping[str, str]
    sizes: Mapping[str, int]
    link: Literal["none", "copy", "hardlink", "symlink"]
    skipped: Sequence[SkippedImage]
    looked_at: int
    needed_bytes: int
    to_save: str


def write_output(
    output: Output, write: Callable[[Path], None], overwrite: bool, dry_run: bool, progress: Progress
) -> None:
    """Write a data set, or go on with one that was stopped in the middle; one that is there already stays.

    Args:
        output: What.
        write: Writes its annotations to a folder.
        overwrite: Replace a former output.
        dry_run: Only check whether there is space.
        progress: Told about every image placed.

    Raises:
        DataError: `out` is taken, the disk is too small, or an image of a finished output is lost.
        BusyError: Another process is at work on it.
    """
    out, link = output.out, output.link
    if not overwrite and is_finished(out, output.job):
        if link != "none":
            refuse_lost_files(out, {new: output.sizes[old] for old, new in output.placed.items()})
        _log.info("%s is there already, made from the same data with the same options", out)
        return
    hint = f"use {output.to_save}, or another disk with --out"
    check_free_space(out, output.needed_bytes, hint, staged_bytes(out))
    if dry_run:
        return
    with staged_folder(out, output.job, overwrite) as folder:
        if link != "none":
            place_images(output.placed, output.images, folder, link, progress)
        write(folder)
        write_skipped(output.skipped, output.looked_at, folder)
        write_json(folder / MANIFEST, {**output.manifest, "job": output.job})
