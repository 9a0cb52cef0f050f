"""Boxes for formats that do not say the sides of their images: of the pictures as they are shown."""

import os
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace

import msgspec

from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.images import UnusableImageError, follows_links, read_orientation, turn_boxes
from fcoslite.machine.threads import map_in_order
from fcoslite.progress import Progress, no_progress


def as_shown(table: AnnotationTable, chosen: Sequence[int], progress: Progress = no_progress) -> AnnotationTable:
    """Turn boxes of images that are annotated as they are stored, on their side.

    Sides in a file tell which it is; where there are none, every reader turns the image by its EXIF orientation, and
    takes the boxes for those of the turned one.

    Args:
        table: A data set.
        chosen: The places of the images to look at; one that cannot be read stays as it is.
        progress: Told about every image.
    """
    follow_links = follows_links(table.folder)

    def look(index: int) -> int:
        image = table.images[index]
        with suppress(UnusableImageError):
            shown, orientation = read_orientation(image.file_name, table.folder, follow_links)
            if orientation >= 5 and (image.height, image.width) == shown[::-1] != shown:
                return orientation
        return 1

    images, boxes_xywh = list(table.images), table.boxes_xywh.copy()
    with (
        progress("Looking for turned images", len(chosen), "images") as advance,
        closing(map_in_order(look, chosen, os.cpu_count() or 1, ahead=64)) as orientations,
    ):
        for index, orientation in zip(chosen, orientations, strict=True):
            advance()
            if orientation != 1:
                image, rows = images[index], table.rows(index)
                boxes_xywh[rows] = turn_boxes(boxes_xywh[rows], (image.height, image.width), orientation)
                images[index] = msgspec.structs.replace(image, height=image.width, width=image.height)
    return replace(table, images=tuple(images), boxes_xywh=boxes_xywh)
