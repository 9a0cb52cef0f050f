"""What is in a data set: planned, looked at, and told."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fcoslite.data.dataset import UNKNOWN_SIDES, AnnotationTable, seeded_order
from fcoslite.data.formats.box_forms import BoxForm
from fcoslite.data.formats.open import Format, open_data
from fcoslite.data.formats.table import take_images
from fcoslite.data.image_files_hint import explain
from fcoslite.data.images import UnusableImageError, follows_links, read_sides
from fcoslite.data.inspect.figures import Figures, compute_figures
from fcoslite.data.inspect.files import FileFindings, open_files
from fcoslite.data.inspect.odd_boxes import OddBoxes, find_odd_boxes
from fcoslite.data.inspect.pictures import FilePictures, Pictures
from fcoslite.data.records.contents import holds_records, open_records
from fcoslite.data.skipped import SkippedImage, skipped_image, summary
from fcoslite.errors import ConfigError, DataError
from fcoslite.progress import Progress, no_progress

_log = logging.getLogger("fcoslite")


@dataclass(frozen=True)
class InspectionPlan:
    """What will be looked at.

    Attributes:
        table: The data set.
        remarks: What its reader warned of.
        to_open: Positions in the table of the images whose files will be opened, ascending.
        pictures: Of the table.
        unusable: Images that not even their header tells of, and records that cannot be read; not in the table.
        hint: What to do about these.
    """

    table: AnnotationTable
    remarks: tuple[str, ...]
    to_open: tuple[int, ...]
    pictures: Pictures
    unusable: tuple[SkippedImage, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class Inspection:
    """What is in a data set.

    Attributes:
        table: The data set.
        remarks: What its reader warned of.
        figures: Of boxes and images.
        odd_boxes: That may be mistakes, by kind.
        files: None: none was opened.
        pictures: Of the table.
    """

    table: AnnotationTable
    remarks: tuple[str, ...]
    figures: Figures
    odd_boxes: tuple[OddBoxes, ...]
    files: FileFindings | None
    pictures: Pictures

    @property
    def faults(self) -> list[str]:
        """What spoils training or its evaluation whatever the data are for, in words."""
        faults = []
        if self.table.dropped_boxes:
            faults.append(_counted(self.table.dropped_boxes, "box is", "boxes are") + " left out")
        if self.files and self.files.unusable:
            faults.append(_counted(len(self.files.unusable), "image", "images") + " cannot be used")
        if self.files and self.files.shared:
            count = len(self.files.shared)
            faults.append(_counted(count, "photograph is", "photographs are") + " in more than one split")
        return faults

    def document(self) -> dict[str, Any]:
        """All in plain words, as JSON has it."""
        figures = asdict(self.figures)
        return {
            "data": str(self.table.path),
            "faults": self.faults,
            "remarks": list(self.remarks),
            **figures,
            "by_size": self.figures.by_size,
            "boxes_left_out": self.table.dropped_boxes,
            "boxes_cut_at_the_border": self.table.clipped_boxes,
            "odd_boxes": [odd.document(self.table) for odd in self.odd_boxes],
            "files": self.files.document(self.table) if self.files else None,
        }


def plan_inspection(
    path: Path,
    images: Path | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    form: Format | None = None,
    boxes: BoxForm = "xywh",
    open_images: bool = True,
    limit: int | None = None,
    progress: Progress = no_progress,
) -> InspectionPlan:
    """Read the annotations of a data set, and choose the images to open.

    Args:
        path: See `open_data`, also for the next five; or a folder of records.
        images: Folder of the images.
        classes: Names whose boxes to look at.
        split: The only part to look at.
        form: The format.
        boxes: What the numbers of a box of COCO are.
        open_images: Whether image files are opened at all.
        limit: Most of them, a sample that is always the same; None: all.
        progress: Told of the shards of records.

    Raises:
        DataError: The data set cannot be read.
        ConfigError: No such class or format; or a format, a split or images are named for records.
    """
    pictures: Pictures
    with _heard_warnings() as remarks:
        if form is None and holds_records(path):
            if images is not None or split is not None or boxes != "xywh":
                raise ConfigError("--images, --split and --boxes are not for records", "leave them out")
            table, pictures, unusable = open_records(path, classes, os.cpu_count() or 1, progress)
            hint = pictures.explain(unusable, ()) if unusable else ""
        else:
            table, unusable, hint = _readable(open_data(path, images, classes, split, form, boxes))
            pictures = FilePictures(table)
    chosen: Iterable[int] = range(len(table.images)) if open_images else ()
    if open_images and limit is not None:
        chosen = seeded_order([image.image_id for image in table.images], 0, "inspect")[:limit].tolist()
    to_open = tuple(sorted(chosen))
    return InspectionPlan(table, tuple(remarks), to_open, pictures, unusable, hint)


def inspect_data(plan: InspectionPlan, progress: Progress = no_progress) -> Inspection:
    """Look at the boxes, and at the image files that are planned.

    Args:
        plan: From `plan_inspection`.
        progress: Told of every image that is opened.
    """
    table, pictures = plan.table, plan.pictures
    files = open_files(table, pictures, plan.to_open, os.cpu_count() or 1, progress) if plan.to_open else None
    if plan.unusable:
        rest = files or FileFindings((), (), "", ())
        files = replace(rest, unusable=(*plan.unusable, *rest.unusable), hint=plan.hint)
    return Inspection(table, plan.remarks, compute_figures(table), find_odd_boxes(table), files, pictures)


def _readable(table: AnnotationTable) -> tuple[AnnotationTable, tuple[SkippedImage, ...], str]:
    """The table without images of which neither the format nor a header tells the sides; those, and what to do."""
    follow_links = follows_links(table.folder)
    unusable: dict[int, SkippedImage] = {}
    for index, image in enumerate(table.images):
        if (image.height, image.width) == UNKNOWN_SIDES:
            try:
                read_sides(image.file_name, table.folder, follow_links)
            except UnusableImageError as error:
                unusable[index] = skipped_image(image, error)
    if not unusable:
        return table, (), ""
    listed = tuple(unusable.values())
    hint = explain(listed, table.images, table.folder)
    if len(listed) == len(table.images):
        raise DataError(f"{table.folder}: {summary(listed, len(listed))}", hint)
    return take_images(table, [index for index in range(len(table.images)) if index not in unusable]), listed, hint


@contextmanager
def _heard_warnings() -> Iterator[list[str]]:
    """What is warned of meanwhile: readers of formats tell so what they leave out, mend, or doubt."""
    heard: list[str] = []

    class Hear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    handler = Hear(logging.WARNING)
    _log.addHandler(handler)
    try:
        yield heard
    finally:
        _log.removeHandler(handler)


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"
