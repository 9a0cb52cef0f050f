"""A contact sheet of labelled images, to see what the boxes are worth."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fcoslite.data.formats.coco import CocoAnnotation, CocoDocument
from fcoslite.data.images import UnusableImageError, encode_picture, read_image
from fcoslite.detections.draw import contact_sheet, draw_boxes
from fcoslite.labelling.fuse import SURE
from fcoslite.labelling.journal import Entry
from fcoslite.storage.files import replace_file

_log = logging.getLogger("fcoslite")

_STRETCHES = 12
_COLUMNS = 4
_CELL = 480  # pixels
_HUMAN = (255, 255, 255)
_IS_SURE = (60, 220, 90)
_UNSURE = (255, 170, 40)
_TO_ASK = (80, 160, 255)
_LOWEST = 0.2  # below, most boxes are wrong, and hide the others


def write_sheet(document: CocoDocument, entries: Sequence[Entry], images: Path, path: Path) -> None:
    """Draw the most telling images, 24 at most: boxes of humans in white, sure ones green, others from 0.2 on orange.

    Those that a human is to be asked about are blue.

    The set is cut into twelve stretches. Of each there is the image with the most boxes that are doubtful, and the one
    with the most that are not. Where no image can be read there is no sheet.

    Args:
        document: What was labelled; its image ids count from 1.
        entries: The images, in its order.
        images: Folder of its images.
        path: The .jpg to write.
    """
    names = {category.id: category.name for category in document.categories}
    boxes: list[list[CocoAnnotation]] = [[] for _ in entries]
    for annotation in document.annotations:
        boxes[annotation.image_id - 1].append(annotation)
    drawn, titles = [], []
    for place in _most_telling([[_score(box) for box in several] for several in boxes]):
        entry = entries[place]
        try:
            pixels = read_image(images / entry.name, (entry.height, entry.width))
        except UnusableImageError as error:  # of a camera's folder somebody has deleted it since
            _log.warning("the sheet lacks an image: %s", error.message)
            continue
        drawn.append(_draw(pixels, boxes[place], names))
        titles.append(entry.name)
    if not drawn:
        return
    sheet = contact_sheet(drawn, columns=_COLUMNS, cell_width=_CELL, titles=titles)
    replace_file(path, encode_picture(sheet, ".jpg", jpeg_quality=90))


def _most_telling(scores: Sequence[Sequence[float]]) -> list[int]:
    """Places of the images to show, by the scores of their boxes."""
    chosen: set[int] = set()
    for stretch in np.array_split(np.arange(len(scores)), _STRETCHES):
        for count in (_doubtful, _certain):
            # the first of the best that is not taken yet
            left = [place for place in stretch.tolist() if place not in chosen]
            if left:
                chosen.add(max(left, key=lambda place: count(scores[place])))
    return sorted(chosen)


def _score(box: CocoAnnotation) -> float:
    return 1.0 if box.score is None else box.score


def _doubtful(scores: Sequence[float]) -> int:
    return sum(_LOWEST <= score < SURE for score in scores)


def _certain(scores: Sequence[float]) -> int:
    return sum(score >= SURE for score in scores)


def _draw(image_rgb: np.ndarray, boxes: Sequence[CocoAnnotation], names: Mapping[int, str]) -> np.ndarray:
    # what is surest lies on top
    for colour, wanted in (
        (_UNSURE, [box for box in boxes if _LOWEST <= _score(box) < SURE and not box.ask]),
        (_IS_SURE, [box for box in boxes if SURE <= _score(box) < 1 and not box.ask]),
        (_TO_ASK, [box for box in boxes if _score(box) >= _LOWEST and box.ask]),
        (_HUMAN, [box for box in boxes if box.score is None]),
    ):
        corners = np.array([box.bbox for box in wanted], np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        labels = None if colour == _HUMAN else [_label(box, names) for box in wanted]
        image_rgb = draw_boxes(image_rgb, corners, colour, labels)
    return image_rgb


def _label(box: CocoAnnotation, names: Mapping[int, str]) -> str:
    name = f"{names[box.category_id]} " if len(names) > 1 else ""
    return f"{name}{_score(box):.2f}"
