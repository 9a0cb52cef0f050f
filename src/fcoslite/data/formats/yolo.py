"""YOLO label files: one per image, each line `class x_center y_center width height`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcoslite.data.formats.coco import xywh_to_xyxy
from fcoslite.data.formats.coco_columns import CocoFile
from fcoslite.errors import DataError


def refuse_shared_labels(source: CocoFile, chosen: Sequence[int]) -> None:
    """Raise DataError where two images would have the same label file."""
    seen: dict[Path, str] = {}
    for index in chosen:
        name = source.images[index].file_name
        other = seen.setdefault(_label_name(name), name)
        if other != name:
            raise DataError(f"{other} and {name} would share one YOLO label file", "rename one of them")


def write_yolo_labels(source: CocoFile, chosen: Sequence[int], folder: Path) -> None:
    """Write the label files of the chosen images to a folder; crowds are left out."""
    for index in chosen:
        image, rows = source.images[index], source.rows(index)
        corners = xywh_to_xyxy(source.boxes_xywh[rows]) / np.array([image.width, image.height] * 2)
        lines = []
        for box, class_id, iscrowd in zip(corners, source.class_ids[rows], source.iscrowd[rows], strict=True):
            if not iscrowd:
                x_min, y_min, x_max, y_max = box
                numbers = ((x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min)
                lines.append(" ".join([str(class_id - 1), *(f"{number:.6f}" for number in numbers)]) + "\n")
        path = folder / _label_name(image.file_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), "utf-8")


def _label_name(file_name: str) -> Path:
    return Path(file_name).with_suffix(".txt")
