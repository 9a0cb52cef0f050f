from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.data.extract.extract import ExtractResult, extract
from fcoslite.data.formats.coco import read_coco


def run(demo_data: Path, out: Path, **arguments: Any) -> ExtractResult:
    arguments = {"annotations": demo_data / "annotations.json", "images": demo_data / "images"} | arguments
    return extract(out=out, **arguments)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_yolo_labels(demo_data: Path, tmp_path: Path) -> None:
    run(demo_data, tmp_path / "out", classes=("car", "person"), negatives=0.2, yolo_labels=True)
    data = read_coco(tmp_path / "out" / "annotations.json", tmp_path / "out" / "images")
    assert names(tmp_path / "out" / "labels") == [image.file_name.replace(".jpg", ".txt") for image in data.images]
    assert any(image.iscrowd.any() for image in data.images)
    for image in data.images:
        text = (tmp_path / "out" / "labels" / image.file_name).with_suffix(".txt").read_text()
        rows = np.array([line.split() for line in text.splitlines()], np.float64).reshape(-1, 5)
        np.testing.assert_array_equal(rows[:, 0], image.class_ids[~image.iscrowd] - 1)
        centers, sizes = rows[:, 1:3], rows[:, 3:5]
        boxes_xyxy = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)
        scaled = boxes_xyxy * ([image.width, image.height] * 2)
        np.testing.assert_allclose(scaled, image.boxes_xyxy[~image.iscrowd], atol=1e-2)
