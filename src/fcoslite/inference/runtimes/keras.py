"""The Keras engine: the network as it was trained, compiled by Keras' backend."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from fcoslite.fcos.detect_graph import DetectGraph
from fcoslite.inference.runtimes.runtime import Dense
from fcoslite.machine.backend import compile_with_xla, sees_gpu
from fcoslite.models.detector import Detector

Forward = Callable[[np.ndarray], Mapping[str, Any]]  # a batch to the model's outputs


class KerasRuntime:
    """A detector that Keras has built.

    Args:
        detector: Its weights are those of now.

    Attributes:
        class_names: By channel.
        image_size: Pixels.
        step: Pixels.
        device: Backend and device.
        at_once: On a CPU two: a network there is many small steps, at the end of each of which threads wait for each
            other, and a second image fills these gaps.
    """

    def __init__(self, detector: Detector) -> None:
        self.class_names = detector.class_names
        self.image_size = detector.image_size
        self.step = detector.step
        graph = DetectGraph(detector)
        self._forward: Forward
        if compile_with_xla():
            graph.compile(jit_compile=True)
            self._forward, self.at_once = graph.predict_on_batch, 1
        else:
            shape = (1, *detector.network.input_shape[1:])
            self._forward, self.at_once = with_constant_weights(graph, shape, "uint8"), 2
        backend = {"jax": "JAX", "tensorflow": "TensorFlow"}[keras.backend.backend()]
        self.device = f"Keras on {backend}, {'GPU' if sees_gpu() else 'CPU'}"

    def __call__(self, images: np.ndarray) -> Dense:
        """Letterboxed images [1, H, W, 3] uint8 to boxes and scores."""
        result = self._forward(images)
        return Dense(np.asarray(result["boxes"]), np.asarray(result["scores"]))


def with_constant_weights(model: keras.Model, shape: tuple[int | None, ...], dtype: str) -> Forward:
    """Compile a model for inputs of that shape, with the weights that it has now.

    Constants let TensorFlow fold norms into kernels and lay these out for the CPU once, not for every image.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    names: list[str] = []  # of the outputs, once it is traced

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype)], autograph=False)
    def forward(images: tf.Tensor) -> list[tf.Tensor]:
        outputs = model(images, training=False)
        names[:] = outputs
        return list(outputs.values())

    frozen = convert_variables_to_constants_v2(forward.get_concrete_function())
    return lambda images: dict(zip(names, frozen(tf.constant(images)), strict=True))
