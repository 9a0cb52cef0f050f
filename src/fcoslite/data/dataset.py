"""COCO data sets as labelled images: read, write, and put in a seeded order."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.data.images import follows_links
from fcoslite.errors import DataError


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file and its boxes.

    Attributes:
        image_id: COCO's id.
        file_name: Relative to the images folder.
        height: Pixels.
        width: Pixels.
        boxes_xyxy: [N, 4] float32, pixels of the original image, inside it.
        class_ids: [N] int32; 1 is the first of the data set's class names.
        iscrowd: [N] bool, the box covers a group.
        areas: [N] float32, area of the segment (not of the box), square pixels.
    """

    image_id: int
    file_name: str
    height: int
    width: int
    boxes_xyxy: np.ndarray
    class_ids: np.ndarray
    iscrowd: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True)
class CocoDataset:
    """Labelled images by image id, ascending.

    Attributes:
        images: All images of the file, those without a box too.
        class_names: Names by class id - 1.
        category_ids: The file's own category ids by class id - 1.
        folder: Where the image files are.
        follow_links: Links out of the folder are meant.
    """

    images: tuple[LabelledImage, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    folder: Path
    follow_links: bool = False


def read_coco(annotations: Path, images: Path, classes: Sequence[str] | None = None) -> CocoDataset:
    """Read a COCO instances file; no image is opened.

    Boxes are cut at the border of their image; those without area are dropped with a warning.

    Args:
        annotations: The JSON file.
        images: The folder its file names are relative to.
        classes: Names whose boxes to read, class ids in this order; None: all, by category id.

    Raises:
        DataError: The file or the folder is missing or cannot be used.
        ConfigError: No such class.
    """
    check_images_folder(images)
    source = open_coco(annotations, classes)
    boxes_xyxy = xywh_to_xyxy(source.boxes_xywh)
    areas = source.areas.astype(np.float32)
    labelled = []
    for index, image in enumerate(source.images):
        rows = source.rows(index)
        labelled.append(
            LabelledImage(
                image_id=image.image_id,
                file_name=image.file_name,
                height=image.height,
                width=image.width,
                boxes_xyxy=boxes_xyxy[rows],
                class_ids=source.class_ids[rows],
                iscrowd=source.iscrowd[rows],
                areas=areas[rows],
            )
        )
    category_ids = tuple(category.id for category in source.categories)
    return CocoDataset(tuple(labelled), source.class_names, category_ids, images, follows_links(images))


def check_images_folder(folder: Path) -> None:
    """Raise DataError unless `folder` is a folder."""
    if not folder.is_dir():
        raise DataError(f"no images folder at {folder}", "file names in the annotations are relative to it")


def xywh_to_xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    """[N, 4] float64 (x, y, width, height) to [N, 4] float32 (x_min, y_min, x_max, y_max), pixels."""
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1).astype(np.float32)


def to_coco_json(
    images: Iterable[LabelledImage], class_names: Sequence[str], category_ids: Sequence[int] | None = None
) -> dict[str, Any]:
    """Write labelled images as a COCO instances document, such as pycocotools takes for ground truth.

    Annotation ids count from 1; pycocotools takes id 0 for 'no match'.

    Args:
        images: What to write.
        class_names: Names by class id - 1.
        category_ids: Category ids by class id - 1; None: the class ids themselves.
    """
    category_ids = range(1, len(class_names) + 1) if category_ids is None else category_ids
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in images:
        records.append(
            {"id": image.image_id, "file_name": image.file_name, "height": image.height, "width": image.width}
        )
        for box, class_id, iscrowd, area in zip(
            image.boxes_xyxy.tolist(),
            image.class_ids.tolist(),
            image.iscrowd.tolist(),
            image.areas.tolist(),
            strict=True,
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image.image_id,
                    "category_id": category_ids[class_id - 1],
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "area": area,
                    "iscrowd": int(iscrowd),
                }
            )
    categories = [{"id": index, "name": name} for index, name in zip(category_ids, class_names, strict=True)]
    return {
        "info": {},
        "licenses": [],
        "images": records,
        "annotations": annotations,
        "categories": categories,
    }


def seeded_order(image_ids: Iterable[int], seed: int, purpose: str) -> list[int]:
    """Shuffle image ids the same way on every machine and for every version of numpy.

    Each id gets its place by a hash of its own, so the order of the rest does not change with an image
    more or less, and the first n of a shuffle are among its first n + 1. `purpose` keeps the shuffles of
    different steps independent: a sample taken by one must not come first in the next.
    """

    def place(image_id: int) -> bytes:
        return hashlib.blake2b(f"{purpose}:{seed}:{image_id}".encode(), digest_size=16).digest()

    return sorted(image_ids, key=place)
