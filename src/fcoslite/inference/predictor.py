"""An image in, Detections out: letterbox, compiled forward pass, NMS, mapping back."""

from pathlib import Path

import numpy as np

from fcoslite.config.load import load_settings
from fcoslite.config.settings import DetectSettings, WorkspaceSettings
from fcoslite.detections.detections import Detections, to_detections
from fcoslite.fcos.detect_graph import DetectGraph
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.runtimes.keras import Predict, with_constant_weights
from fcoslite.machine.backend import compile_with_xla
from fcoslite.models.detector import Detector
from fcoslite.models.weights import load_detector
from fcoslite.runs.find_weights import config_of, find_weights


class Predictor:
    """Detects on single images.

    Args:
        detector: Network and classes.
        settings: Thresholds.

    Attributes:
        forward: Compiled: letterboxed uint8 [1, S, S, 3] -> `detections` and `count` of `fcos.decode.detect`.
        at_once: Images that `predict` is best given at the same time, from threads. A network on a CPU is many small
            steps, at the end of each of which threads wait for each other: a second image fills these gaps.
    """

    def __init__(self, detector: Detector, settings: DetectSettings) -> None:
        self.class_names = detector.class_names
        self.image_size = detector.image_size
        model = DetectGraph(detector, settings)
        self.forward: Predict
        if compile_with_xla():
            model.compile(jit_compile=True)
            self.forward, self.at_once = model.predict_on_batch, 1
        else:
            example = np.zeros((1, self.image_size, self.image_size, 3), np.uint8)
            self.forward, self.at_once = with_constant_weights(model, example), 2

    @classmethod
    def load(cls, weights: str | Path, settings: DetectSettings | None = None) -> "Predictor":
        """From trained weights.

        Args:
            weights: A .npz file, the name of packaged weights (`lite0`), or a run by path or name.
            settings: Thresholds; None for those of `webcam` in the config that the weights were trained with.

        Raises:
            WeightsError: There are none, or they cannot be used.
        """
        path = find_weights(weights, Path(WorkspaceSettings().runs))
        if settings is None:
            settings = load_settings(config_of(path)).webcam
        detector, _ = load_detector(path)
        return cls(detector, settings)

    def warm_up(self) -> None:
        """Compile the forward pass, so that the first image is as fast as the others."""
        self.predict(np.zeros((self.image_size, self.image_size, 3), np.uint8))

    def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
        """Detect on an image.

        Args:
            image_rgb: [h, w, 3] uint8; boxes come back in its pixels.
            letterboxed: The same, [S, S, 3], if somebody has letterboxed it already.
        """
        letterbox = Letterbox(image_rgb.shape[0], image_rgb.shape[1], self.image_size)
        if letterboxed is None:
            letterboxed = letterbox.apply_image(image_rgb)
        result = self.forward(letterboxed[None])
        detections, count = np.asarray(result["detections"]), np.asarray(result["count"])
        return to_detections(detections[0], count[0], letterbox, self.class_names)
