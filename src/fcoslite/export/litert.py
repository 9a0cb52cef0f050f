"""A detector as a LiteRT file (.tflite), for phones and small boards."""

import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fcoslite.errors import ConfigError
from fcoslite.export.keras_export import keras_export
from fcoslite.fcos.detect_graph import DetectGraph
from fcoslite.geometry.batch_images import normalise
from fcoslite.geometry.boxes import Tensor
from fcoslite.models.detector import Detector
from fcoslite.models.facts import FACTS_FILE, ExportFacts


class _NetworkGraph(keras.Model):
    """uint8 [B, S, S, 3] -> the network's own outputs."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(name="network", dtype="float32")
        self.network = detector.network

    def call(self, images: Tensor) -> dict[str, Tensor]:
        """Normalise, run the network."""
        outputs: dict[str, Tensor] = self.network(normalise(images), training=False)
        return outputs


def to_litert(detector: Detector, facts: ExportFacts, images: Sequence[np.ndarray]) -> bytes:
    """Make a LiteRT file, to which the facts are appended as a zip, as LiteRT's own metadata keeps files.

    In int8 the outputs are the network's own: LiteRT gives a decoded box one scale for all its pixels, and then nothing
    is found.

    Args:
        detector: Its weights are those of now.
        facts: Of the result.
        images: For int8: letterboxed, [1, S, S, 3] uint8.

    Raises:
        ConfigError: Keras runs on JAX, from which it cannot convert.
    """
    if keras.backend.backend() != "tensorflow":
        raise ConfigError("LiteRT files are made with TensorFlow", "set KERAS_BACKEND=tensorflow")
    import tensorflow as tf

    options: dict[str, Any] = {}
    if facts.precision != "float32":
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if facts.precision == "float16":
        options["target_spec"] = {"supported_types": [tf.float16]}
    if facts.precision == "int8":

        def representative() -> Iterator[list[np.ndarray]]:
            for image in images:
                yield [np.repeat(image, facts.batch or 1, axis=0)]

        options["representative_dataset"] = representative
    graph = DetectGraph(detector) if facts.decoded else _NetworkGraph(detector)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.tflite"
        keras_export(graph, path, "litert", detector, facts.batch, **options)
        with zipfile.ZipFile(path, "a") as appended:
            appended.writestr(zipfile.ZipInfo(FACTS_FILE), facts.model_dump_json())
        return path.read_bytes()
