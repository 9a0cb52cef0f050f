from pathlib import Path

import keras
import numpy as np
import pytest

from fcoslite.data.images import read_image
from fcoslite.fcos.decode import decode
from fcoslite.fcos.locations import locations_of
from fcoslite.geometry.batch_images import normalise
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.runtimes.keras import KerasRuntime
from fcoslite.models.weights import load_detector
from fcoslite.runs.find_weights import packaged_weights


@pytest.fixture(scope="module")
def runtime() -> KerasRuntime:
    return KerasRuntime(load_detector(packaged_weights()["lite0"])[0])


def test_constant_weights_give_what_the_network_gives(runtime: KerasRuntime, demo_data: Path) -> None:
    detector, _ = load_detector(packaged_weights()["lite0"])
    for path in sorted((demo_data / "images").glob("*.jpg"))[:3]:
        pixels = read_image(path)
        letterboxed = Letterbox.square(*pixels.shape[:2], detector.image_size).apply_image(pixels)[None]
        outputs = detector.network(normalise(letterboxed), training=False)
        locations = locations_of(detector.image_size, detector.architecture.strides)
        expected = decode(outputs, locations.points, locations.strides[:, None])
        dense = runtime(letterboxed)
        np.testing.assert_allclose(dense.boxes_xyxy, expected["boxes"], atol=0.05)
        np.testing.assert_allclose(dense.scores, expected["scores"], atol=1e-4)


def test_it_tells_what_it_is(runtime: KerasRuntime) -> None:
    assert (runtime.class_names, runtime.image_size) == (("person",), 384)
    assert {"tensorflow": "TensorFlow", "jax": "JAX"}[keras.backend.backend()] in runtime.device
    assert runtime.at_once == 2  # on a CPU
