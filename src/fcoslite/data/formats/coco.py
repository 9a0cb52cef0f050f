"""COCO instances files: read as labelled images, and written."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fcoslite.data.dataset import AnnotationTable, Dataset, LabelledImage
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.data.formats.table import to_dataset
from fcoslite.errors import DataError


def read_coco(annotations: Path, images: Path, classes: Sequence[str] | None = None) -> Dataset:
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
    return to_dataset(open_coco(annotations, classes, [images]))


def check_images_folder(folder: Path) -> None:
    """Raise DataError unless `folder` is a folder."""
    if not folder.is_dir():
        raise DataError(f"no images folder at {folder}", "file names in the annotations are relative to it")


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
        for box, class_id, iscrowd, area, score in zip(
            image.boxes_xyxy.tolist(),
            image.class_ids.tolist(),
            image.iscrowd.tolist(),
            image.areas.tolist(),
            image.scores.tolist(),
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
                    **score_of(score),
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


def encode_annotations(source: AnnotationTable, chosen: Sequence[int]) -> bytes:
    """COCO instances JSON of the chosen images; category id 1 is the first class."""
    counts = np.diff(source.starts)[list(chosen)]
    image_ids = np.repeat([source.images[index].image_id for index in chosen], counts)
    rows = source.rows_of(chosen)
    columns = zip(
        source.annotation_ids[rows].tolist(),
        image_ids.tolist(),
        source.class_ids[rows].tolist(),
        source.boxes_xywh[rows].tolist(),
        source.areas[rows].tolist(),
        source.iscrowd[rows].tolist(),
        source.scores[rows].tolist(),
        strict=True,
    )
    document = {
        "info": source.info,
        "licenses": source.licenses,
        "categories": [
            {"supercategory": category.supercategory or "", "id": index, "name": category.name}
            for index, category in enumerate(source.categories, start=1)
        ],
        "images": [(source.raw_images or source.images)[index] for index in chosen],
        "annotations": [
            {
                "id": annotation_id,
                "image_id": image_id,
                "category_id": class_id,
                "bbox": box_xywh,
                "area": area,
                "iscrowd": int(iscrowd),
                **score_of(score),
            }
            for annotation_id, image_id, class_id, box_xywh, area, iscrowd, score in columns
        ],
    }
    return msgspec.json.encode(document)


def score_of(score: float) -> dict[str, float]:
    """The score of an annotation as it is written: a box that a person drew has none."""
    return {} if score == 1 else {"score": score}
