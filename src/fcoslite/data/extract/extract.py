"""Cut a COCO data set down to the chosen classes: images, annotations, manifest, YOLO labels on request."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from fcoslite import __version__
from fcoslite.data.as_shown import as_shown
from fcoslite.data.extract.choose_images import select_images, usable_images
from fcoslite.data.extract.place_images import Link
from fcoslite.data.formats.box_forms import BoxForm
from fcoslite.data.formats.coco import encode_annotations
from fcoslite.data.formats.open import Format, open_data, source_digest
from fcoslite.data.formats.yolo import refuse_shared_labels, write_yolo_labels
from fcoslite.data.skipped import MAX_SKIPPED, SkippedImage, most_skipped
from fcoslite.data.write_data_set import Output, refuse_unusable, write_output
from fcoslite.errors import ConfigError
from fcoslite.progress import Progress, no_progress
from fcoslite.storage.files import sizes_of
from fcoslite.storage.places import is_remote
from fcoslite.storage.space import free_bytes
from fcoslite.storage.staged_folder import EXTRACT_KIND, check_output, job_digest


@dataclass(frozen=True)
class ExtractResult:
    """What an extract holds, or would hold.

    Attributes:
        out: The folder.
        class_names: Names by class id - 1.
        images: Images in all.
        boxes: Boxes in all, crowds included.
        crowd_boxes: Boxes that cover a group.
        negatives: Images without any of the classes.
        skipped_images: Images that would have been taken, but for their file: missing, damaged, of another size.
        dropped_boxes: Annotations of the classes in the source whose box or image cannot be used.
        clipped_boxes: Boxes of the classes in the source that were cut at the border of their image.
        size_bytes: Size of the image files.
        needed_bytes: What the extract takes on the disk; links take nothing.
        free_bytes: Free space on that disk, before.
    """

    out: Path
    class_names: tuple[str, ...]
    images: int
    boxes: int
    crowd_boxes: int
    negatives: int
    skipped_images: int
    dropped_boxes: int
    clipped_boxes: int
    size_bytes: int
    needed_bytes: int
    free_bytes: int = field(compare=False)


def extract(
    annotations: Path,
    images: Path | None,
    out: Path,
    classes: Sequence[str] = ("person",),
    limit: int | None = None,
    negatives: float = 0.0,
    link: Link = "copy",
    yolo_labels: bool = False,
    seed: int = 0,
    max_skipped: str = MAX_SKIPPED,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
    form: Format | None = None,
    split: str | None = None,
    boxes: BoxForm = "xywh",
) -> ExtractResult:
    """Write a smaller, valid COCO data set of the images that show the chosen classes.

    Args:
        annotations: A data set, as `open_data` takes it: a COCO instances file, or a folder in any format.
        images: The folder its file names are relative to; None: where the format has them.
        out: Folder to write; nothing appears there before it is complete. If it was made from the same data with the
            same options there is nothing to do; if that was stopped in the middle, it goes on.
        classes: Class names, or several in a text with commas between; they get the category ids 1, 2, ... in this
            order.
        limit: Take a seeded sample of this many images with a box; None: all.
        negatives: Images without any of the classes to add, as a fraction of those with one.
        link: How image files come to `out`; a link that cannot be made becomes a copy, with a warning.
        yolo_labels: Also write labels/NAME.txt, `class x_center y_center width height`: class from 0,
            the rest as fractions of the image; crowds are left out.
        seed: Of the samples.
        max_skipped: Most images that may be left out because they cannot be used: a count, or a share such as `1%`.
            They are listed in skipped.jsonl.
        overwrite: Replace a former extract at `out`.
        dry_run: Check and count, write nothing.
        progress: Told about every image checked and placed.
        form: The format; None: recognised.
        split: Take this part of the data set only; None: all. What is written knows of each image which it is of.
        boxes: What the numbers of a box of COCO are, if not x, y, width, height in pixels.

    Raises:
        DataError: A file or folder is missing or unusable, or no image is left.
        TooManySkippedError: More images cannot be used.
        ConfigError: An argument is not allowed, or there is no such class.
        BusyError: Another process is at work on `out`.
    """
    _check_arguments(limit, negatives, link)
    most_skipped(max_skipped, 0)  # a wrong one is told now
    check_output(out, EXTRACT_KIND, overwrite, (annotations,) if images is None else (annotations, images))
    source = open_data(annotations, images, classes, split, form, boxes)
    if link != "copy" and is_remote(source.folder):
        raise ConfigError(f"nothing can be linked to {source.folder}", "leave --link out")
    skipped: list[SkippedImage] = []
    usable = partial(usable_images, source=source, skipped=skipped, progress=progress)
    chosen, negative_count = select_images(source, limit, negatives, seed, usable)
    looked_at = len(chosen) + len(skipped)
    refuse_unusable(skipped, looked_at, len(chosen) == negative_count, source, max_skipped)
    rows = source.rows_of(chosen)
    encoded = encode_annotations(source, chosen)
    names = [source.images[index].file_name for index in chosen]
    sizes = dict(zip(names, sizes_of(source.folder, names), strict=True))
    size_bytes = sum(sizes.values())
    result = ExtractResult(
        out=out,
        class_names=source.class_names,
        images=len(chosen),
        boxes=len(rows),
        crowd_boxes=int(np.count_nonzero(source.iscrowd[rows])),
        negatives=negative_count,
        skipped_images=len(skipped),
        dropped_boxes=source.dropped_boxes,
        clipped_boxes=source.clipped_boxes,
        size_bytes=size_bytes,
        needed_bytes=len(encoded) + (size_bytes if link == "copy" else 0),
        free_bytes=free_bytes(out),
    )
    if yolo_labels:
        refuse_shared_labels(names)
    said = {key: value for key, value in (("split", split), ("boxes", boxes)) if value not in (None, "xywh")}
    manifest = {
        "kind": EXTRACT_KIND,
        "version": __version__,
        "source": {"annotations": annotations.name, "sha256": source_digest(source)},
        "classes": {name: index for index, name in enumerate(source.class_names, start=1)},
        "images": result.images,
        "boxes": result.boxes,
        "crowd_boxes": result.crowd_boxes,
        "negatives": result.negatives,
        "skipped_images": result.skipped_images,
        "dropped_boxes": result.dropped_boxes,
        "clipped_boxes": result.clipped_boxes,
        "options": {"limit": limit, "negatives": negatives, "link": link, "yolo_labels": yolo_labels, **said},
        "seed": seed,
    }
    output = Output(
        out=out,
        manifest=manifest,
        job=job_digest({**manifest, "placed": list(sizes.items())}),
        images=source.folder,
        placed={name: f"images/{name}" for name in names},
        sizes=sizes,
        link=link,
        skipped=skipped,
        looked_at=looked_at,
        needed_bytes=result.needed_bytes,
        to_save="--link hardlink, --limit",
    )

    def write(folder: Path) -> None:
        if yolo_labels:
            write_yolo_labels(as_shown(source, chosen, progress), chosen, names, folder)
        (folder / "annotations.json").write_bytes(encoded)

    write_output(output, write, overwrite, dry_run, progress)
    return result


def _check_arguments(limit: int | None, negatives: float, link: str) -> None:
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}", "it must be at least 1")
    if not 0 <= negatives < float("inf"):
        raise ConfigError(f"negatives is {negatives}", "it is a fraction, 0 or more")
    if link not in get_args(Link):
        raise ConfigError(f"link is '{link}'", "it is one of " + ", ".join(get_args(Link)))
