"""A batch of images to boxes and scores: the graph that is compiled, frozen and exported."""

import keras

from fcoslite.fcos.decode import decode
from fcoslite.fcos.locations_graph import locations_in_graph
from fcoslite.geometry.batch_images import normalise
from fcoslite.geometry.boxes import Tensor
from fcoslite.models.detector import Detector


class DetectGraph(keras.Model):
    """Letterboxed uint8 [B, H, W, 3] -> `boxes` [B, N, 4] and `scores` [B, N, C], in one graph; see `decode`.

    H and W are S, the image size, or what `Detector.step` allows.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__(name="detect", dtype="float32")
        self.network = detector.network
        self.detector = detector

    def call(self, images: Tensor) -> dict[str, Tensor]:
        """Normalise, run the network, decode."""
        outputs = self.network(normalise(images), training=False)
        return decode(outputs, *locations_in_graph(images, self.detector.architecture.strides))
