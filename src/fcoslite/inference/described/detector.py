"""An image in, Detections out, by an ONNX file and its description."""

from pathlib import Path

import numpy as np

from fcoslite.detections.detections import Detections
from fcoslite.errors import ConfigError
from fcoslite.fcos.nms import non_max_suppression
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.described.decode import decode_boxes, decode_dense
from fcoslite.inference.described.description import Description, InputDescription
from fcoslite.inference.described.free_size import with_free_size
from fcoslite.inference.runtimes.onnx import OnnxNetwork

_MOST_BOXES = 300  # an image
_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}


class DescribedDetector:
    """Detects on single images.

    Args:
        path: The ONNX file.
        description: What it takes and gives.
        size: Side of the square that the images are letterboxed to, pixels; None: what the file fixes.
        score: Boxes below are dropped.
        threads: For the work on one image.

    Attributes:
        class_names: Of the description, in its order.
        image_size: Pixels.

    Raises:
        WeightsError: The file cannot be run.
        ConfigError: The description does not fit it.
    """

    def __init__(self, path: Path, description: Description, size: int | None, score: float, threads: int) -> None:
        self.class_names = tuple(description.classes)
        self._description, self._score = description, score
        self._network = OnnxNetwork(path, threads)
        fixed = _fixed_size(self._network, description.input)
        if size is None and fixed is None:
            raise ConfigError(f"{path} takes any image size", "choose one with --size, such as 640")
        self.image_size = size or fixed or 0
        strides = description.dense.strides if description.dense is not None else ()
        if any(self.image_size % stride for stride in strides):
            raise ConfigError(f"the size is {self.image_size}", f"it must be a multiple of {max(strides)}")
        if fixed is not None and fixed != self.image_size:
            height_axis = _height_axis(description.input)
            self._network = OnnxNetwork(path, threads, with_free_size(path, height_axis))

    def predict(self, image_rgb: np.ndarray) -> Detections:
        """Detect on an image [h, w, 3] uint8; boxes come back in its pixels.

        Raises:
            WeightsError: The file cannot be run at this size.
            ConfigError: The description does not fit it.
        """
        form = self._description.input
        height, width = image_rgb.shape[:2]
        letterbox = Letterbox.square(height, width, self.image_size, top_left=form.letterbox == "top-left")
        outputs = self._network(prepare(letterbox.apply_image(image_rgb, form.pad), form))
        numbers = list(self._description.classes.values())
        try:
            if self._description.dense is not None:
                found = decode_dense(outputs, self.image_size, self._description.dense, numbers, self._score)
            else:
                assert self._description.boxes is not None
                found = decode_boxes(outputs, self._description.boxes, numbers, self._score)
        except ConfigError as error:
            raise ConfigError(f"{self._network.path}: {error.message}", error.hint) from None
        boxes, scores, places = found
        boxes = letterbox.invert_boxes(boxes, clip=True)
        # what lay in the padding has no area, and NaN is no box
        usable = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & np.isfinite(scores)
        boxes, scores, places = boxes[usable], np.minimum(scores[usable], 1), places[usable]
        kept = non_max_suppression(boxes, scores, places, self._description.nms_iou, _MOST_BOXES).kept
        return Detections(boxes[kept], scores[kept], (places[kept] + 1).astype(np.int32), self.class_names)


def prepare(letterboxed_rgb: np.ndarray, form: InputDescription) -> np.ndarray:
    """A square [S, S, 3] uint8 RGB as the network takes it: [1, 3, S, S] or [1, S, S, 3]."""
    image = letterboxed_rgb if form.channels == "rgb" else letterboxed_rgb[..., ::-1]
    if form.dtype == "float32":
        image = (image.astype(np.float32) - np.array(form.mean, np.float32)) / np.array(form.std, np.float32)
    batch = image[None] if form.layout == "nhwc" else image.transpose(2, 0, 1)[None]
    return np.ascontiguousarray(batch)


def _height_axis(form: InputDescription) -> int:
    return 1 if form.layout == "nhwc" else 2


def _fixed_size(network: OnnxNetwork, form: InputDescription) -> int | None:
    """The side of the square that a file fixes, if it does."""
    port, axis = network.input, _height_axis(form)
    described = f"{form.dtype} {form.layout}"
    if port.dtype != _TYPES[form.dtype] or len(port.shape) != 4:
        found = f"{port.dtype} {list(port.shape)}"
        raise ConfigError(f"{network.path} takes {found}, and is described as {described}", "correct its description")
    channels = port.shape[3 if form.layout == "nhwc" else 1]
    if (isinstance(channels, int) and channels != 3) or port.shape[0] == 0:
        raise ConfigError(
            f"{network.path} takes {list(port.shape)}, and is described as {described}", "is `layout` right?"
        )
    if isinstance(port.shape[0], int) and port.shape[0] != 1:
        raise ConfigError(f"{network.path} takes batches of {port.shape[0]}", "export it for a batch of one")
    height, width = port.shape[axis], port.shape[axis + 1]
    fixed = [side for side in (height, width) if isinstance(side, int)]
    if len(set(fixed)) > 1:
        raise ConfigError(
            f"{network.path} takes images of {width} x {height}", "only squares are given; free both sides"
        )
    return fixed[0] if fixed else None
