"""AP of an exported detector in a program that reads it: .onnx files in Ultralytics, .tflite files in MediaPipe.

    python tools/readers.py DATA FILE [FILE ...]

DATA is a folder with images/ and annotations.json, of which the class with id 1 is scored. A line of JSON a figure.
`nox -s readers` runs it in an environment of its own: Ultralytics is under the AGPL and no dependency of ours.
"""

import contextlib
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Box = tuple[float, float, float, float, float, int]  # x_min, y_min, x_max, y_max, score, class from 0 on
Reader = Callable[[np.ndarray], Iterator[Box]]

_ENLARGED = 5  # odd, so that one of a pixel's copies lies in the middle


def ultralytics_reader(file: Path) -> Reader:
    """With the thresholds of `yolo val`."""
    from ultralytics import YOLO

    model = YOLO(str(file))

    def read(image_bgr: np.ndarray) -> Iterator[Box]:
        [result] = model.predict(image_bgr, conf=0.001, iou=0.7, max_det=300, verbose=False, device="cpu")
        assert result.names[0] == "person" and model.task == "detect", (result.names, model.task)
        for *box, score, number in result.boxes.data.tolist():
            yield (*box, score, int(number))

    return read


def mediapipe_reader(file: Path, whole: bool) -> Reader:
    """MediaPipe stretches a picture to the square; where it is not given the `whole` one, it gets a letterboxed square.

    It tells boxes in whole pixels of what it is given, so the square has each pixel several times: as it samples the
    middle one of them, the network sees the same square.
    """
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=str(file)), max_results=-1)
    detector = vision.ObjectDetector.create_from_options(options)
    with zipfile.ZipFile(file) as appended:
        size = json.loads(appended.read("fcoslite.json"))["image_size"]

    def read(image_bgr: np.ndarray) -> Iterator[Box]:
        height, width = image_bgr.shape[:2]
        scale, left, top = 1.0, 0, 0
        if not whole:
            scale = size / max(height, width)
            new_width, new_height = round(width * scale), round(height * scale)
            left, top = (size - new_width) // 2, (size - new_height) // 2
            resized = cv2.resize(image_bgr, (new_width, new_height), interpolation=cv2.INTER_AREA)
            image_bgr = np.full((size, size, 3), 114, np.uint8)
            image_bgr[top : top + new_height, left : left + new_width] = resized
            image_bgr = image_bgr.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
            scale, left, top = scale * _ENLARGED, left * _ENLARGED, top * _ENLARGED
        pixels = np.ascontiguousarray(image_bgr[..., ::-1])
        for found in detector.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, pixels)).detections:
            box, [category] = found.bounding_box, found.categories
            assert category.category_name == "person"
            x_min, y_min = (box.origin_x - left) / scale, (box.origin_y - top) / scale
            yield x_min, y_min, x_min + box.width / scale, y_min + box.height / scale, category.score, 0

    return read


def average_precision(read: Reader, data: Path) -> float:
    """COCO's AP of the class with id 1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data / "annotations.json"))
        found: list[dict[str, Any]] = []
        for image in truth.dataset["images"]:
            pixels = cv2.imread(str(data / "images" / image["file_name"]))
            assert pixels is not None
            height, width = pixels.shape[:2]
            for x_min, y_min, x_max, y_max, score, number in read(pixels):
                low_x, low_y, high_x, high_y = np.clip([x_min, y_min, x_max, y_max], 0, [width, height] * 2)
                box = [low_x, low_y, high_x - low_x, high_y - low_y]
                row = {"image_id": image["id"], "category_id": number + 1, "bbox": box, "score": score}
                found.append(row)
        scores = COCOeval(truth, truth.loadRes(found), "bbox")
        scores.params.catIds = [1]
        scores.evaluate()
        scores.accumulate()
        scores.summarize()
    return float(scores.stats[0])


def main(data: Path, files: list[Path]) -> None:
    """Print the AP of each file."""
    for file in files:
        if file.suffix == ".tflite":
            for name, whole in (("mediapipe", False), ("mediapipe, whole pictures", True)):
                figure = average_precision(mediapipe_reader(file, whole), data)
                print(json.dumps({"file": file.name, "reader": name, "ap": figure}), flush=True)
        else:
            figure = average_precision(ultralytics_reader(file), data)
            print(json.dumps({"file": file.name, "reader": "ultralytics", "ap": figure}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
