"""A predictor whose thresholds and engine can be changed while it is in use."""

import threading
from pathlib import Path

import numpy as np

from fcoslite.config.settings import DetectSettings
from fcoslite.detections.detections import Detections
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes.open import Engine, check_engine


class AdjustablePredictor:
    """As `Predictor`, and may be changed from another thread; what is under way ends as it began.

    Args:
        weights: A weights file, or an exported one.
        settings: Thresholds.
        engine: What runs the network.

    Attributes:
        weights: As given.
        engine: As given last.

    Raises:
        WeightsError: The file cannot be used.
        ConfigError: The engine cannot run it.
        FcosliteError: What the engine needs is not installed.
    """

    def __init__(self, weights: Path, settings: DetectSettings, engine: Engine) -> None:
        self.weights, self.engine = weights, engine
        self._changing = threading.Lock()
        self._predictor = _load(weights, settings, engine)

    @property
    def settings(self) -> DetectSettings:
        """The thresholds of now."""
        return self._predictor.settings

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class id - 1."""
        return self._predictor.class_names

    @property
    def at_once(self) -> int:
        """One image at a time: each is to be seen soon."""
        return 1

    @property
    def device(self) -> str:
        """What runs the network, and on what."""
        return self._predictor.device

    def letterbox(self, height: int, width: int) -> Letterbox:
        """How images of these sides, pixels, are letterboxed."""
        return self._predictor.letterbox(height, width)

    def predict(self, image_rgb: np.ndarray, letterboxed: np.ndarray | None = None) -> Detections:
        """Detect in an image [h, w, 3] uint8, which may come letterboxed, too."""
        return self._predictor.predict(image_rgb, letterboxed)

    def set_thresholds(self, settings: DetectSettings) -> None:
        """Use these from the next image on."""
        with self._changing:
            self._predictor = self._predictor.with_settings(settings)

    def set_engine(self, engine: Engine) -> None:
        """Load the network on another engine, and use that from then on; if it cannot be loaded nothing changes.

        Raises:
            WeightsError: The file cannot be used.
            ConfigError: The engine cannot run it.
            FcosliteError: What the engine needs is not installed.
        """
        check_engine(self.weights, engine)
        with self._changing:
            self._predictor = _load(self.weights, self.settings, engine)
            self.engine = engine


def _load(weights: Path, settings: DetectSettings, engine: Engine) -> Predictor:
    predictor = Predictor.load(weights, settings, engine)
    predictor.warm_up()
    return predictor
