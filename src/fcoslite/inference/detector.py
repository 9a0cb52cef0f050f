"""The way in from Python: a detector that is ready, and one method."""

from pathlib import Path

import numpy as np

from fcoslite.config.settings import WorkspaceSettings
from fcoslite.data.images import read_image
from fcoslite.detections.detections import Detections
from fcoslite.inference.about import about
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes.open import Engine
from fcoslite.runs.find_weights import find_weights


class Detector:
    """Detects on images.

    Args:
        weights: Packaged weights by name, a .npz or exported .onnx file, or a run by path or name.
        score: Boxes below are dropped, 0 to 1; None: what suits the weights.
        iou: NMS drops a box that overlaps a better one by more, 0 to 1; None: what suits the weights.
        engine: What runs the network.

    Attributes:
        class_names: By class id - 1.
        device: What runs the network, and on what.

    Raises:
        WeightsError: There are no such weights, or they cannot be used.
        ConfigError: The engine cannot run them.
    """

    def __init__(
        self,
        weights: str | Path = "lite0",
        *,
        score: float | None = None,
        iou: float | None = None,
        engine: Engine = "auto",
    ) -> None:
        path = find_weights(weights, Path(WorkspaceSettings().runs))
        settings = about(path).settings.webcam.with_given(score=score, iou=iou)
        self._predictor = Predictor.load(path, settings, engine)
        self.class_names = self._predictor.class_names
        self.device = self._predictor.device

    def detect(self, image: str | Path | np.ndarray) -> Detections:
        """Detect on one image.

        Args:
            image: A file, or [h, w, 3] uint8, RGB.

        Returns:
            In pixels of the image, best score first.

        Raises:
            UnusableImageError: The file is no image that can be read.
            ValueError: The array is not of that shape and type.
        """
        image_rgb = image if isinstance(image, np.ndarray) else read_image(image)
        if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8 or 0 in image_rgb.shape:
            raise ValueError(f"an image is [h, w, 3] uint8, this is {list(image_rgb.shape)} {image_rgb.dtype}")
        return self._predictor.predict(image_rgb)
