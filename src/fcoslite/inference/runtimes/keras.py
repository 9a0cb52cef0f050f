"""Running a Keras model, its weights made constants."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

Predict = Callable[[np.ndarray], Mapping[str, Any]]  # a letterboxed batch to `detections` and `count`


def with_constant_weights(model: keras.Model, example: np.ndarray) -> Predict:
    """Compile a model for inputs like the example, with the weights that it has now.

    Constants let TensorFlow fold norms into kernels and lay these out for the CPU once, not for every image.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    names: list[str] = []  # of the outputs, once it is traced

    @tf.function(input_signature=[tf.TensorSpec(example.shape, example.dtype)], autograph=False)
    def forward(images: tf.Tensor) -> list[tf.Tensor]:
        outputs = model(images, training=False)
        names[:] = outputs
        return list(outputs.values())

    frozen = convert_variables_to_constants_v2(forward.get_concrete_function())
    return lambda images: dict(zip(names, frozen(tf.constant(images)), strict=True))
