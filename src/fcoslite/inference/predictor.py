"""An image in, Detections out: letterbox, network, NMS, mapping back."""

from pathlib import Path

import numpy as np

from fcoslite.config.settings import DetectSettings, WorkspaceSettings
from fcoslite.detections.detections import Detections, to_detections
from fcoslite.fcos.postprocess import postprocess
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.about import about
from fcoslite.inference.runtimes.open import Engine, open_runtime
from fcoslite.inference.runtimes.runtime import Runtime
from fcoslite.runs.find_weights import find_weights


class Predictor:
    """Detects on single images; from several threads at a time, where `at_once` says so.

    Args:
        runtime: The network, on its engine.
        settings: Thresholds.

    Attributes:
        class_names: By class id - 1.
        image_size: Side of the letterboxed image, pixels.
        at_once: Images that `predict` is best given at the same time, from threads.
        device: What runs the network, and on what.
        settings: Thresholds.
    """

    def __init__(self, runtime: Runtime, settings: DetectSettings) -> None:
        self.class_names = runtime.class_names
        self.image_size = runtime.image_size
        self.at_once = runtime.at_once
        self.device = runtime.device
        self.settings = settings
        self._runtime = runtime

    @classmethod
    def load(
        cls,
        weights: str | Path,
        settings: DetectSettings | None = None,
        engine: Engine = "auto",
        many: bool = False,
    ) -> "Predictor":
        """From trained weights.

        Args:
            weights: A .npz file, an ONNX file made of one, the name of packaged weights (`lite0`), or a run by path or
                name.
            settings: Thresholds; None for those of `webcam` in the config that the weights were trained with.
            engine: What runs the network.
            many: Images will come in plenty, and may be worked on side by side; else each is to be done soon.

        Raises:
            WeightsError: There are none, or they cannot be used.
            ConfigError: The engine cannot run them.
            FcosliteError: What the engine needs is not installed.
        """
        path = find_weights(weights, Path(WorkspaceSettings().runs))
        settings = settings or about(path).settings.webcam
        return cls(open_runtime(path, engine, many), settings)

    def with_settings(self, settings: DetectSettings) -> "Predictor":
        """The same network with other thresholds."""
        return Predictor(self._runtime, settings)

    def warm_up(self) -> None:
        """Have the network run once, so that the first image is as fast as the others."""
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
        return self.predict_letterboxed(letterboxed, letterbox)

    def predict_letterboxed(self, letterboxed: np.ndarray, letterbox: Letterbox) -> Detections:
        """Detect on an image that is letterboxed, [S, S, 3] uint8; boxes come back in pixels of the original."""
        dense = self._runtime(letterboxed[None])
        found = postprocess(dense.boxes_xyxy[0], dense.scores[0], self.settings)
        return to_detections(*found, letterbox, self.class_names)
