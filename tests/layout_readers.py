"""Readers of detectors in other projects' layouts, written from what those projects say, on nothing of ours.

    python -m tests.layout_readers DATA FILE

prints the AP of persons that a file has: .onnx as Ultralytics reads it, .tflite as LiteRT gives it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Rows = np.ndarray  # [M, 6]: x_min, y_min, x_max, y_max in pixels of the picture, score, class from 0 on
Reader = Callable[[np.ndarray], Rows]  # of a picture as OpenCV reads it


def letterboxed(image_bgr: np.ndarray, size: int, method: int) -> tuple[np.ndarray, float, int, int]:
    """As ultralytics/data/augment.py does: one scale, in the middle, on grey 114; with scale, left and top."""
    height, width = image_bgr.shape[:2]
    scale = min(size / height, size / width)
    new_width, new_height = round(width * scale), round(height * scale)
    left, top = round((size - new_width) / 2 - 0.1), round((size - new_height) / 2 - 0.1)
    square = np.full((size, size, 3), 114, np.uint8)
    resized = cv2.resize(image_bgr, (new_width, new_height), interpolation=method)
    square[top : top + new_height, left : left + new_width] = resized
    return square, scale, left, top


def blob(square_bgr: np.ndarray) -> np.ndarray:
    """[1, 3, S, S] float32, RGB, 0 to 1."""
    return cv2.dnn.blobFromImage(square_bgr, 1 / 255, swapRB=True)


def yolo_reader(run: Callable[[np.ndarray], np.ndarray], size: int, least: float = 0.001, iou: float = 0.7) -> Reader:
    """A YOLO of Ultralytics, `run` from a blob to its output [1, 4 + C, N]; thresholds are those of their `val`."""

    def read(image_bgr: np.ndarray) -> Rows:
        square, scale, left, top = letterboxed(image_bgr, size, cv2.INTER_LINEAR)
        [columns] = run(blob(square))
        centre, extent, scores = columns[:2].T, columns[2:4].T, columns[4:]
        best, values = scores.argmax(axis=0), scores.max(axis=0)
        likely = values > least
        low = (centre - extent / 2)[likely]
        boxes = np.concatenate([low, extent[likely]], axis=1)
        chosen = cv2.dnn.NMSBoxesBatched(boxes.tolist(), values[likely].tolist(), best[likely].tolist(), least, iou)
        kept = np.array(chosen, int)[:300]
        low, extent = (boxes[kept, :2] - (left, top)) / scale, boxes[kept, 2:] / scale
        return np.column_stack([low, low + extent, values[likely][kept], best[likely][kept]])

    return read


def ssd_reader(path: Path) -> Reader:
    """An SSD of TensorFlow: the outputs are boxes, classes, scores and their count, in this order."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    [given], made = interpreter.get_input_details(), interpreter.get_output_details()
    size = int(given["shape"][1])

    def read(image_bgr: np.ndarray) -> Rows:
        square, scale, left, top = letterboxed(image_bgr, size, cv2.INTER_AREA)
        interpreter.set_tensor(given["index"], cv2.cvtColor(square, cv2.COLOR_BGR2RGB)[None])
        interpreter.invoke()
        boxes, classes, scores, count = (interpreter.get_tensor(output["index"])[0] for output in made)
        sides = (boxes[:, [1, 0, 3, 2]] * size - [left, top] * 2) / scale
        return np.column_stack([sides, scores, classes])[: int(count)]

    return read


def average_precision(reader: Reader, data: Path) -> float:
    """COCO's AP of the persons that a reader finds; the id of persons is 1."""
    truth = COCO()
    truth.dataset = json.loads((data / "annotations.json").read_text("utf-8"))
    truth.createIndex()
    found = []
    for image in truth.dataset["images"]:
        pixels = cv2.imread(str(data / "images" / image["file_name"]))
        limits = np.array([pixels.shape[1], pixels.shape[0]] * 2)
        for *box, score, number in reader(pixels):
            low_x, low_y, high_x, high_y = np.clip(box, 0, limits)
            sides = [low_x, low_y, high_x - low_x, high_y - low_y]
            found.append({"image_id": image["id"], "category_id": int(number) + 1, "bbox": sides, "score": score})
    scores = COCOeval(truth, truth.loadRes(found), "bbox")
    scores.params.catIds = [1]
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    return float(scores.stats[0])


def read_as_others_do(file: Path) -> Reader:
    """Of a square of 384 pixels: .onnx as Ultralytics does, .tflite as LiteRT gives it."""
    if file.suffix == ".tflite":
        return ssd_reader(file)
    from onnxruntime import InferenceSession

    session = InferenceSession(str(file))
    return yolo_reader(lambda blob: session.run(None, {"images": blob})[0], 384)


if __name__ == "__main__":
    print(f"AP {average_precision(read_as_others_do(Path(sys.argv[2])), Path(sys.argv[1])):.4f}")
