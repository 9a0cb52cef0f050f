"""Write a data set in another format: the same images and boxes, as far as the format can say them."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import msgspec
import numpy as np

from fcoslite import __version__
from fcoslite.data.as_shown import as_shown
from fcoslite.data.dataset import SPLITS, UNKNOWN_SIDES, AnnotationTable
from fcoslite.data.formats.box_forms import BoxForm
from fcoslite.data.formats.coco import table_digest
from fcoslite.data.formats.coco_folder import IMAGES as COCO_IMAGES
from fcoslite.data.formats.coco_folder import write_coco
from fcoslite.data.formats.createml import write_createml
from fcoslite.data.formats.files import split_of
from fcoslite.data.formats.open import Format, open_data
from fcoslite.data.formats.table import take_images
from fcoslite.data.formats.voc import IMAGES as VOC_IMAGES
from fcoslite.data.formats.voc import write_voc
from fcoslite.data.formats.yolo import IMAGES as YOLO_IMAGES
from fcoslite.data.formats.yolo import refuse_shared_labels, write_yolo
from fcoslite.data.images import UnusableImageError, follows_links, read_orientation
from fcoslite.data.skipped import MAX_SKIPPED, SkippedImage, most_skipped, skipped_image
from fcoslite.data.write_data_set import Output, refuse_unusable, write_output
from fcoslite.errors import ConfigError, DataError
from fcoslite.machine.threads import map_in_order
from fcoslite.progress import Progress, no_progress
from fcoslite.storage.files import file_size
from fcoslite.storage.space import free_bytes
from fcoslite.storage.staged_folder import CONVERT_KIND, check_output, job_digest

_log = logging.getLogger("fcoslite")

Target = Literal["coco", "yolo", "voc", "createml"]
LinkOrNone = Literal["none", "copy", "hardlink", "symlink"]

_IMAGE_BYTES = 1000  # of annotations, at most, in the wordiest of the formats
_BOX_BYTES = 350


@dataclass(frozen=True)
class _Writer:
    write: Callable[[AnnotationTable, Sequence[str], Path], None]
    images: str  # folder of the images
    crowds: bool  # it can say that a box is to be ignored
    scores: bool
    sides: bool  # of the images
    any_split: bool  # splits of any name, and images of none beside those of one
    file_per_image: bool


_WRITERS: dict[Target, _Writer] = {
    "coco": _Writer(
        write_coco, COCO_IMAGES, crowds=True, scores=True, sides=True, any_split=True, file_per_image=False
    ),
    "yolo": _Writer(
        write_yolo, YOLO_IMAGES, crowds=False, scores=False, sides=False, any_split=False, file_per_image=True
    ),
    "voc": _Writer(write_voc, VOC_IMAGES, crowds=True, scores=False, sides=True, any_split=True, file_per_image=True),
    "createml": _Writer(
        write_createml, "", crowds=False, scores=False, sides=False, any_split=False, file_per_image=False
    ),
}


@dataclass(frozen=True)
class ConvertResult:
    """What a converted data set holds, or would hold.

    Attributes:
        out: The folder.
        form: Its format.
        class_names: Names by class id - 1.
        images: Images in all.
        splits: Images of each split; empty where there are none.
        boxes: Boxes in all.
        crowd_boxes: Boxes of the source that cover a group.
        crowds_left_out: Those that the format cannot say, and that are not among `boxes`.
        scores_left_out: Boxes whose score the format cannot say: they are there, and count as drawn by a person.
        skipped_images: Images that were left out, because their file is missing, no image, or of another size.
        dropped_boxes: Annotations of the source whose box or image cannot be used.
        clipped_boxes: Boxes that were cut at the border of their image.
        size_bytes: Size of the image files.
        needed_bytes: What it takes on the disk, about; links take nothing.
        free_bytes: Free space on that disk, before.
    """

    out: Path
    form: Target
    class_names: tuple[str, ...]
    images: int
    splits: dict[str, int]
    boxes: int
    crowd_boxes: int
    crowds_left_out: int
    scores_left_out: int
    skipped_images: int
    dropped_boxes: int
    clipped_boxes: int
    size_bytes: int
    needed_bytes: int
    free_bytes: int = field(compare=False)


def convert(
    data: Path,
    target: Target,
    out: Path,
    images: Path | None = None,
    form: Format | None = None,
    split: str | None = None,
    link: LinkOrNone = "none",
    max_skipped: str = MAX_SKIPPED,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
    boxes: BoxForm = "xywh",
) -> ConvertResult:
    """Write a data set in another format.

    Args:
        data: A data set, as `open_data` takes it.
        target: The format to write.
        out: Folder to write; nothing appears there before it is complete. If it was made from the same data with the
            same options there is nothing to do.
        images: The folder of its images, where the format does not say.
        form: The format of `data`; None: recognised.
        split: The only part to take; None: all, and splits are kept.
        link: How image files come to `out`. `none`: not at all; then they are looked at only where their sides are not
            known otherwise, and for their orientation where `target` does not say the sides.
        max_skipped: Most images that may be left out because they cannot be used: a count, or a share such as `1%`.
            They are listed in skipped.jsonl.
        overwrite: Replace a former output of `convert`.
        dry_run: Check and count, write nothing.
        progress: Told about every image looked at and placed.
        boxes: What the numbers of a box of COCO are, if not x, y, width, height in pixels.

    Raises:
        DataError: The data set cannot be used, or `target` cannot say its splits, or `out` is taken.
        TooManySkippedError: More images cannot be used.
        ConfigError: An argument is not allowed.
        BusyError: Another process is at work on `out`.
    """
    if target not in _WRITERS:
        raise ConfigError(f"there is no format '{target}' to write", "it is one of " + ", ".join(_WRITERS))
    if link not in get_args(LinkOrNone):
        raise ConfigError(f"link is '{link}'", "it is one of " + ", ".join(get_args(LinkOrNone)))
    most_skipped(max_skipped, 0)  # a wrong one is told now
    writer = _WRITERS[target]
    check_output(out, CONVERT_KIND, overwrite, (data,) if images is None else (data, images))
    source = open_data(data, images, None, split, form, boxes)
    skipped = _unusable(source, link != "none", progress)
    looked_at = len(source.images)
    refuse_unusable(skipped, looked_at, len(skipped) == looked_at, source, max_skipped)
    bad = {image.image_id for image in skipped}
    table = take_images(source, [index for index, image in enumerate(source.images) if image.image_id not in bad])
    table = _with_splits(table, writer, target)
    names = _names(table)
    if writer.file_per_image:
        refuse_shared_labels(names)
    sizes = {image.file_name: file_size(table.folder / image.file_name) for image in table.images}
    prefix = f"{writer.images}/" if writer.images else ""
    placed = {image.file_name: prefix + name for image, name in zip(table.images, names, strict=True)}
    size_bytes = sum(size for size in sizes.values() if size > 0)
    splits = [image.split for image in table.images]
    crowds = int(np.count_nonzero(table.iscrowd))
    scored = int(np.count_nonzero(table.scores < 1))
    annotation_bytes = len(names) * _IMAGE_BYTES + len(table.class_ids) * _BOX_BYTES
    result = ConvertResult(
        out=out,
        form=target,
        class_names=table.class_names,
        images=len(names),
        splits={name: splits.count(name) for name in table.split_names},
        boxes=len(table.class_ids) - (0 if writer.crowds else crowds),
        crowd_boxes=crowds,
        crowds_left_out=0 if writer.crowds else crowds,
        scores_left_out=0 if writer.scores else scored,
        skipped_images=len(skipped),
        dropped_boxes=source.dropped_boxes,
        clipped_boxes=source.clipped_boxes,
        size_bytes=size_bytes,
        needed_bytes=annotation_bytes + (size_bytes if link == "copy" else 0),
        free_bytes=free_bytes(out),
    )
    _warn_of_the_unsaid(result)
    manifest = {
        "kind": CONVERT_KIND,
        "version": __version__,
        "format": target,
        "source": {"data": data.name, "sha256": table_digest(table)},
        "classes": {name: index for index, name in enumerate(table.class_names, start=1)},
        "images": result.images,
        "splits": result.splits,
        "boxes": result.boxes,
        "crowds_left_out": result.crowds_left_out,
        "scores_left_out": result.scores_left_out,
        "skipped_images": result.skipped_images,
        "dropped_boxes": result.dropped_boxes,
        "clipped_boxes": result.clipped_boxes,
        "options": {"link": link},
    }
    output = Output(
        out=out,
        manifest=manifest,
        job=job_digest({**manifest, "placed": [[new, sizes[old]] for old, new in placed.items()]}),
        images=table.folder,
        placed=placed,
        sizes=sizes,
        link=link,
        skipped=skipped,
        looked_at=looked_at,
        needed_bytes=result.needed_bytes,
        to_save="--link hardlink",
    )

    def write(folder: Path) -> None:
        writer.write(table if writer.sides else as_shown(table, range(len(names)), progress), names, folder)

    write_output(output, write, overwrite, dry_run, progress)
    return result


def _unusable(table: AnnotationTable, all_of_them: bool, progress: Progress) -> list[SkippedImage]:
    """Images whose header cannot be read, or tells of other sides than the annotations are for."""
    looked_at = [image for image in table.images if all_of_them or (image.height, image.width) == UNKNOWN_SIDES]
    follow_links = follows_links(table.folder)
    skipped = []

    def look(index: int) -> UnusableImageError | None:
        image = looked_at[index]
        try:
            sides, orientation = read_orientation(image.file_name, table.folder, follow_links)
        except UnusableImageError as error:
            return error
        # it may be annotated as it is stored, on its side
        if (image.height, image.width) in (sides, sides[::-1] if orientation >= 5 else sides):
            return None
        reason = f"{sides[1]}x{sides[0]} pixels, its annotations are for {image.width}x{image.height}"
        return UnusableImageError(table.folder / image.file_name, reason)

    with (
        progress("Looking at images", len(looked_at), "images") as advance,
        closing(map_in_order(look, range(len(looked_at)), os.cpu_count() or 1, ahead=64)) as problems,
    ):
        for image, problem in zip(looked_at, problems, strict=True):
            advance()
            if problem is not None:
                skipped.append(skipped_image(image, problem))
    return skipped


def _with_splits(table: AnnotationTable, writer: _Writer, target: Target) -> AnnotationTable:
    """The table with the splits that are to be written: one that all images are of divides nothing."""
    splits = [image.split for image in table.images]
    if len(set(splits)) == 1:
        images = tuple(msgspec.structs.replace(image, split=None) for image in table.images)
        return replace(table, images=images)
    strange = next((split for split in splits if split not in SPLITS), "")
    if strange != "" and not writer.any_split:
        count = splits.count(strange)
        what = "none" if strange is None else f"'{strange}'"
        raise DataError(
            f"{table.path}: {count} images are of the split {what}, which {target} cannot say",
            "it knows train, val and test: take one part at a time with --split",
        )
    return table


def _names(table: AnnotationTable) -> list[str]:
    """Names of the images in the new images folder: without the folders that only the old format asked for."""
    names = []
    for image in table.images:
        path = PurePosixPath(image.file_name)
        folders = [name for name in path.parts[:-1] if name not in (COCO_IMAGES, VOC_IMAGES)]
        if image.split is not None:
            folders = [image.split] + [name for name in folders if split_of(name) != image.split]
        names.append("/".join([*folders, path.name]))
    if len({name.lower() for name in names}) == len(names):
        return names
    return ["/".join(filter(None, [image.split, image.file_name])) for image in table.images]


def _warn_of_the_unsaid(result: ConvertResult) -> None:
    if result.crowds_left_out:
        _log.warning("%s cannot say that a box is a crowd: %d are left out", result.form, result.crowds_left_out)
    if result.scores_left_out:
        _log.warning("%s knows no scores: %d boxes have lost theirs", result.form, result.scores_left_out)
