"""A detector as a TensorFlow SavedModel, for TensorFlow Serving and other programs on TensorFlow."""

from pathlib import Path

import keras

from fcoslite.errors import ConfigError
from fcoslite.export.keras_export import keras_export
from fcoslite.fcos.detect_graph import DetectGraph
from fcoslite.models.detector import Detector
from fcoslite.models.facts import SAVED_MODEL_FACTS, ExportFacts


def write_saved_model(detector: Detector, facts: ExportFacts, folder: Path) -> None:
    """Write a folder whose signature `serving_default` has the ports of `ExportFacts`; the facts lie in it, too.

    Raises:
        ConfigError: Keras runs on JAX, from which it cannot convert.
    """
    if keras.backend.backend() != "tensorflow":
        raise ConfigError("a SavedModel is made with TensorFlow", "set KERAS_BACKEND=tensorflow")
    sides = detector.network.input_shape[1:3]
    keras_export(DetectGraph(detector), folder, "tf_saved_model", sides, facts.batch)
    path = folder / SAVED_MODEL_FACTS
    path.parent.mkdir()
    path.write_text(facts.model_dump_json(), "utf-8")
