"""A detector laid out as Ultralytics' YOLOs are, which many programs read: Frigate calls it `yolo-generic`."""

from typing import Any

import keras
from keras import ops

from fcoslite.errors import ConfigError
from fcoslite.export.joined_scores import joined
from fcoslite.fcos.decode import decode
from fcoslite.fcos.locations import locations_of
from fcoslite.geometry.boxes import Tensor
from fcoslite.models.detector import Detector
from fcoslite.models.facts import ExportFacts


class YoloGraph(keras.Model):
    """RGB in 0 to 1 [B, 3, S, S] float32 -> [B, 4 + C, N] float32.

    Rows 0 to 3 are x and y of the box's centre, its width and its height, pixels of the square; after them comes the
    score of each class, see `joined`. Duplicates are in it: readers suppress them.

    Raises:
        ConfigError: There are fewer locations than rows, and readers tell the two axes apart by their lengths.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__(name="yolo", dtype="float32")
        self.network = keras.models.clone_model(detector.network, clone_function=_for_opencv)
        self.detector = detector
        self.locations = locations_of(detector.image_size, detector.architecture.strides)
        rows = 4 + len(detector.class_names)
        if len(self.locations) <= rows:
            message = f"at {detector.image_size} pixels there are {len(self.locations)} boxes of {rows} numbers each"
            raise ConfigError(f"{message}, and programs take the longer side for the boxes", "choose a larger --size")

    def call(self, images: Tensor) -> Tensor:
        """Run the network, decode, lay out."""
        outputs = self.network(ops.transpose(images, (0, 2, 3, 1)), training=False)
        found = decode(outputs, self.locations.points, self.locations.strides[:, None])
        low, high = found["boxes"][..., :2], found["boxes"][..., 2:]
        columns = ops.concatenate([(low + high) / 2, high - low, joined(found["scores"], self.detector)], axis=-1)
        return ops.transpose(columns, (0, 2, 1))


class _Double(keras.layers.Layer):
    """Nearest neighbours, twice as many; an operator of its own in ONNX."""

    def call(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[1:3]
        return ops.image.resize(maps, (2 * height, 2 * width), interpolation="nearest")


def _for_opencv(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A layer as it is, but for upsampling: that becomes a Tile of five axes, which OpenCV 4 repeats along others."""
    return _Double(name=layer.name) if isinstance(layer, keras.layers.UpSampling2D) else layer


def double_as_others(model: Any) -> None:
    """Write doubling as PyTorch's exporter does: TensorFlow's mode is ONNX no longer, and some readers refuse it."""
    for node in model.graph.node:
        if node.op_type == "Resize":
            for attribute in node.attribute:
                if attribute.name == "coordinate_transformation_mode":
                    attribute.s = b"asymmetric"  # with a factor of 2, rounded down, the same pixels


def yolo_metadata(facts: ExportFacts) -> dict[str, str]:
    """What readers look for in the file: Python literals under the keys of ultralytics/engine/exporter.py."""
    size = [facts.image_size] * 2
    settings = {"batch": facts.batch or 1, "dynamic": False, "half": False, "int8": False, "nms": False}
    return {
        "description": f"fcoslite detector of {', '.join(facts.classes)}"[:1000],
        "author": "fcoslite",
        "version": facts.version,
        "task": "detect",
        "stride": str(max(facts.strides)),
        "batch": str(facts.batch or 1),
        "imgsz": str(size),
        "names": str(dict(enumerate(facts.classes))),
        "channels": "3",
        "end2end": "False",
        "args": str(settings),
    }
