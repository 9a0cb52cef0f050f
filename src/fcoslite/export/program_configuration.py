"""What is pasted into the programs that read exported files: their configuration, and the file of labels."""

import json
from collections.abc import Sequence

import yaml

_FRIGATE_FOLDER = "/config/model_cache"  # that docs.frigate.video names for files of one's own
_FRIGATE_LEAST = 0.4  # frigate/util/model.py and detectors/detector_utils.py drop what scores less
_MOST_FILTERS = 10  # classes whose thresholds are written out


def labels_text(classes: Sequence[str]) -> str:
    """A file of labels: a name a line, the first is class 0.

    Where the first name begins with a number and a blank, programs take the numbers for those of the classes (Frigate
    does, and Coral's examples); then each line has its number.
    """
    first, _, rest = classes[0].partition(" ")
    numbered = bool(rest) and first.isdigit()
    return "".join(f"{number} {name}\n" if numbered else f"{name}\n" for number, name in enumerate(classes))


def frigate_configuration(
    format: str, file: str, labels: str, size: int, classes: Sequence[str], score: float, layout: str
) -> str:
    """YAML for Frigate's config.yml.

    Args:
        format: Of the file: `onnx`, `openvino` or `litert`.
        file: Name of the exported file.
        labels: Name of the file of labels.
        size: Side of the square, pixels.
        classes: By class number.
        score: That a box must have, as the file gives it.
        layout: `yolo` or `ssd`.
    """
    detectors = {
        "onnx": {"onnx": {"type": "onnx"}},
        "openvino": {"ov": {"type": "openvino", "device": "CPU"}},
        "litert": {"cpu1": {"type": "cpu", "num_threads": 3}},
    }
    of_layout = {
        "yolo": {"model_type": "yolo-generic", "input_tensor": "nchw", "input_dtype": "float"},
        "ssd": {"model_type": "ssd", "input_tensor": "nhwc", "input_dtype": "int"},
    }
    model = {
        "path": f"{_FRIGATE_FOLDER}/{file}",
        "labelmap_path": f"{_FRIGATE_FOLDER}/{labels}",
        "width": size,
        "height": size,
        "input_pixel_format": "rgb",
        **of_layout[layout],
    }
    tracked = ["person"] if "person" in classes else list(classes)
    threshold = round(max(score, _FRIGATE_LEAST), 2)
    filters = {name: {"min_score": threshold, "threshold": threshold} for name in tracked[:_MOST_FILTERS]}
    document = {"detectors": detectors[format], "model": model, "objects": {"track": tracked, "filters": filters}}
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    if score < _FRIGATE_LEAST:
        text += f"# the detector's own threshold is {score:.2f}; Frigate sees nothing below {_FRIGATE_LEAST}\n"
    return text


def scrypted_configuration(files: Sequence[str], size: int, classes: Sequence[str]) -> str:
    """config.json for a custom model of Scrypted's ONNX and OpenVINO plugins.

    Args:
        files: Names of the exported file's parts, which lie beside config.json.
        size: Side of the square, pixels.
        classes: By class number.
    """
    labels = {str(number): name for number, name in enumerate(classes)}
    document = {"model": "yolov9", "files": list(files), "input_shape": [1, 3, size, size], "labels": labels}
    return json.dumps(document, ensure_ascii=False) + "\n"
