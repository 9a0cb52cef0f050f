import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from fcoslite.detections.detections import Detections
from fcoslite.inference.detect_sources import Result
from fcoslite.inference.input.listing import Listed
from fcoslite.inference.output.result_files import CocoWriter


def test_a_coco_file_names_frames_and_who_is_tracked(tmp_path: Path) -> None:
    boxes = np.array([[10, 20, 40, 60], [0, 0, 5, 5]], np.float32)
    found = Detections(boxes, np.array([0.5, 0.25], np.float32), np.array([2, 1], np.int32), ("cat", "dog"))
    tracked = Detections(
        found.boxes_xyxy, found.scores, found.class_ids, found.class_names, np.array([7, -1], np.int32)
    )
    image_rgb = np.zeros((100, 200, 3), np.uint8)
    writer = CocoWriter(tmp_path / "found.json", ("cat", "dog"))
    writer.write(Result(Listed("caf\udce9.jpg", "caf\udce9.jpg", moves=False), image_rgb, found))
    writer.write(Result(Listed("street.mp4", "street.mp4", moves=True), image_rgb, tracked, 12, 0.4804))
    writer.close()
    document = json.loads((tmp_path / "found.json").read_text("utf-8"))
    sides = {"height": 100, "width": 200}
    assert document["images"] == [
        {"id": 1, "file_name": "caf%E9.jpg", **sides},
        {"id": 2, "file_name": "street-000012.jpg", **sides, "video": "street.mp4", "frame": 12, "seconds": 0.48},
    ]
    assert [(one["id"], one["name"]) for one in document["categories"]] == [(1, "cat"), (2, "dog")]
    first = {"category_id": 2, "bbox": [10, 20, 30, 40], "area": 1200, "iscrowd": 0, "score": 0.5}
    assert document["annotations"][0] == {"id": 1, "image_id": 1, **first}
    assert document["annotations"][2] == {"id": 3, "image_id": 2, **first, "track_id": 7}
    assert "track_id" not in document["annotations"][3]
    assert COCO(tmp_path / "found.json").getAnnIds(imgIds=[2], catIds=[1]) == [4]
