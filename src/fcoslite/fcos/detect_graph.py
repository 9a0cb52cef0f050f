"""A batch of images to detections: the graph that is compiled for inference."""

import keras

from fcoslite.config.settings import DetectSettings
from fcoslite.fcos.decode import detect
from fcoslite.fcos.locations import locations_of
from fcoslite.geometry.batch_images import normalise
from fcoslite.geometry.boxes import Tensor
from fcoslite.models.detector import Detector


class DetectGraph(keras.Model):
    """uint8 [B, S, S, 3] -> `detections` [B, D, 6] and `count` [B], in one graph."""

    def __init__(self, detector: Detector, settings: DetectSettings) -> None:
        super().__init__(name="forward", dtype="float32")
        self.network = detector.network
        self.detector = detector
        self.settings = settings

    def call(self, images: Tensor) -> dict[str, Tensor]:
        """See `fcos.decode.detect`."""
        outputs = self.network(normalise(images), training=False)
        locations = locations_of(self.detector.image_size, self.detector.architecture.strides)
        return detect(outputs, locations, self.settings)
