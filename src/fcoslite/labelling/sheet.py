"""A contact sheet of labelled images, to see what the boxes are worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.data.images import encode_picture, read_image
from fcoslite.detections.draw import contact_sheet, draw_boxes
from fcoslite.labelling.fuse import SURE
from fcoslite.storage.files import replace_file

_STRETCHES = 12
_COLUMNS = 4
_CELL = 480  # pixels
_HUMAN = (255, 255, 255)
_IS_SURE = (60, 220, 90)
_UNSURE = (255, 170, 40)
_TO_ASK = (80, 160, 255)
_LOWEST = 0.2  # below, most boxes are wrong, and hide the others


def write_sheet(document: Mapping[str, Any], images: Path, path: Path) -> None:
    """Draw the most telling images, 24 at most: boxes of humans in white, sure ones green, others from 0.2 on orange.

    Those that a human is to be asked about are blue.

    The set is cut into twelve stretches. Of each there is the image with the most boxes that are doubtful, and the one
    with the most that are not.

    Args:
        document: COCO instances, some annotations with a `score`.
        images: Folder of its images.
        path: The .jpg to write.
    """
    names = {category["id"]: category["name"] for category in document["categories"]}
    boxes: dict[int, list[Mapping[str, Any]]] = {image["id"]: [] for image in document["images"]}
    for annotation in document["annotations"]:
        boxes[annotation["image_id"]].append(annotation)
    chosen = _most_telling([boxes[image["id"]] for image in document["images"]])
    drawn, titles = [], []
    for place in chosen:
        image = document["images"][place]
        pixels = read_image(images / image["file_name"], (image["height"], image["width"]))
        drawn.append(_draw(pixels, boxes[image["id"]], names))
        titles.append(image["file_name"])
    sheet = contact_sheet(drawn, columns=_COLUMNS, cell_width=_CELL, titles=titles)
    replace_file(path, encode_picture(sheet, ".jpg", jpeg_quality=90))


def _most_telling(boxes: Sequence[Sequence[Mapping[str, Any]]]) -> list[int]:
    """Places of the images to show."""
    chosen: set[int] = set()
    for stretch in np.array_split(np.arange(len(boxes)), _STRETCHES):
        for count in (_doubtful, _certain):
            # the first of the best that is not taken yet
            left = [place for place in stretch.tolist() if place not in chosen]
            if left:
                chosen.add(max(left, key=lambda place: count(boxes[place])))
    return sorted(chosen)


def _score(box: Mapping[str, Any]) -> float:
    return float(box.get("score", 1.0))


def _doubtful(boxes: Sequence[Mapping[str, Any]]) -> int:
    return sum(_LOWEST <= _score(box) < SURE for box in boxes)


def _certain(boxes: Sequence[Mapping[str, Any]]) -> int:
    return sum(_score(box) >= SURE for box in boxes)


def _draw(image_rgb: np.ndarray, boxes: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> np.ndarray:
    # what is surest lies on top
    for colour, wanted in (
        (_UNSURE, [box for box in boxes if _LOWEST <= _score(box) < SURE and "ask" not in box]),
        (_IS_SURE, [box for box in boxes if _score(box) >= SURE and "score" in box and "ask" not in box]),
        (_TO_ASK, [box for box in boxes if _score(box) >= _LOWEST and "ask" in box]),
        (_HUMAN, [box for box in boxes if "score" not in box]),
    ):
        corners = np.array([box["bbox"] for box in wanted], np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        labels = None if colour == _HUMAN else [_label(box, names) for box in wanted]
        image_rgb = draw_boxes(image_rgb, corners, colour, labels)
    return image_rgb


def _label(box: Mapping[str, Any], names: Mapping[int, str]) -> str:
    name = f"{names[box['category_id']]} " if len(names) > 1 else ""
    return f"{name}{_score(box):.2f}"
