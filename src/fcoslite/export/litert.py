"""A detector as a LiteRT file (.tflite), for phones and small boards."""

import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
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
    graph = DetectGraph(detector) if facts.decoded else network_graph(detector)
    return with_files(convert_litert(graph, detector.image_size, facts, images), facts)


def network_graph(detector: Detector) -> keras.Model:
    """From bytes to the outputs of `Detector.network`."""
    return _NetworkGraph(detector)


def convert_litert(graph: keras.Model, size: int, facts: ExportFacts, images: Sequence[np.ndarray]) -> bytes:
    """Convert a graph that takes letterboxed images of `size` pixels; other arguments and errors as of `to_litert`."""
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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.tflite"
        keras_export(graph, path, "litert", (size, size), facts.batch, **options)
        return path.read_bytes()


def with_files(file: bytes, facts: ExportFacts, others: Mapping[str, str] | None = None) -> bytes:
    """A LiteRT file with its facts, and other texts by name, behind it."""
    content = io.BytesIO()
    content.write(file)
    with zipfile.ZipFile(content, "a") as appended:
        for name, text in {**(others or {}), FACTS_FILE: facts.model_dump_json()}.items():
            appended.writestr(zipfile.ZipInfo(name), text)
    return content.getvalue()
