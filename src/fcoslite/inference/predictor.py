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
        image_size: S, pixels, a multiple of the step of a network with free sides; None: the network's own.

    Attributes:
        class_names: By class id - 1.
        image_size: S; a letterboxed image has at most S · S pixels, see `letterbox`.
        step: What its sides are multiples of, pixels.
        at_once: Images that `predict` is best given at the same time, from threads.
        device: What runs the network, and on what.
        settings: Thresholds.
    """

    def __init__(self, runtime: Runtime, settings: DetectSettings, image_size: int | None = None) -> None:
        self.class_names = runtime.class_names
        self.image_size = image_size or runtime.image_size
        self.step = runtime.step
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
        image_size: int | None = None,
    ) -> "Predictor":
        """From trained weights.

        Args:
            weights: A .npz file, an ONNX file made of one, the name of packaged weights (`lite0`), or a run by path or
                name.
            settings: Thresholds; None for those of `webcam` in the config that the weights were trained with.
            engine: What runs the network.
            many: Images will come in plenty, and may be worked on side by side; else each is to be done soon.
            image_size: See `Predictor`.

        Raises:
            WeightsError: There are none, or they cannot be used.
            ConfigError: The engine cannot run them.
            FcosliteError: What the engine needs is not installed.
        """
        path = find_weights(weights, Path(WorkspaceSettings().runs))
        settings = settings or about(path).settings.webcam
        return cls(open_runtime(path, engine, many), settings, image_size)

    def with_settings(self, settings: DetectSettings) -> "Predictor":
        """The same network with other thresholds."""
        return Predictor(self._runtime, settings, self.image_size)

    def warm_up(self) -> None:
        """Have the network run once, so that the first image is as fast as the others."""
        self.predict(np.zeros((self.image_size, self.image_size, 3), np.uint8))

    def letterbox(self, height: int, width: int) -> Letterbox:
        """How images of these sides, pixels, are letterboxed."""
        return Letterbox.fitting(height, width, self.image_size, self.step)

    def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
        """Detect on an image.

        Args:
            image_rgb: [h, w, 3] uint8; boxes come back in its pixels.
            letterboxed: The same by `letterbox`, if somebody has done that already.
        """
        letterbox = self.letterbox(*image_rgb.shape[:2])
        if letterboxed is None:
            letterboxed = letterbox.apply_image(image_rgb)
        return self.predict_letterboxed(letterboxed, letterbox)

    def predict_letterboxed(self, letterboxed: np.ndarray, letterbox: Letterbox) -> Detections:
        """Detect on an image that is letterboxed, [H, W, 3] uint8; boxes come back in pixels of the original."""
        dense = self._runtime(letterboxed[None])
        found = postprocess(dense.boxes_xyxy[0], dense.scores[0], self.settings)
        return to_detections(*found, letterbox, self.class_names)
