"""The forward pass of `lite` on one image of 512 pixels, against the plain one and against bare convolutions.

The machine's limit is the best rate at which TensorFlow does a bare 3x3 convolution of any of the network's own shapes.

Run: python -m benchmarks.forward [--quick] [--out FOLDER]
"""

import argparse
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from benchmarks.plain_loop import plain_network
from benchmarks.table import Must, Row, race, run_stage
from fcoslite.config.settings import ModelSettings
from fcoslite.inference.runtimes.keras import with_constant_weights
from fcoslite.models.detector import build_detector, count_macs

SIZE = 512


def convolution_shapes(network: keras.Model) -> list[tuple[int, int, int]]:
    """Side, channels in and out of the distinct 3x3 convolutions of stride 1."""
    found = set()
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3) and layer.strides == (1, 1):
            for node in layer._inbound_nodes:
                _, side, _, filters = node.output_tensors[0].shape
                found.add((side, node.input_tensors[0].shape[-1], filters))
    return sorted(found)


def bare_convolution(side: int, channels: int, filters: int) -> Callable[[], object]:
    """A compiled 3x3 convolution of one feature map with a constant kernel."""
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(1, side, side, channels)), tf.float32)
    kernel = rng.normal(size=(3, 3, channels, filters)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec(x.shape)], autograph=False)
    def convolve(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, tf.constant(kernel), 1, "SAME")

    return lambda: convolve(x)


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """GFLOP/s; a multiplication and an addition are two."""
    network = build_detector(ModelSettings(preset="lite", image_size=SIZE), seed=0).network
    plain = plain_network(network)
    images = np.random.default_rng(0).uniform(size=(1, SIZE, SIZE, 3)).astype(np.float32)
    compiled = with_constant_weights(network, images.shape, "float32")
    exact = plain_network(network, "float64")(images)
    for name, value in compiled(images).items():
        np.testing.assert_allclose(value, exact[name], atol=1e-4, rtol=0, err_msg=name)
    shapes = {
        f"{shape[0]}x{shape[0]}, {shape[1]} to {shape[2]} channels": shape for shape in convolution_shapes(network)
    }
    contestants = {
        "ours": lambda: compiled(images),
        "plain": lambda: plain(images, training=False),
        **{name: bare_convolution(*shape) for name, shape in shapes.items()},
    }
    result = race(contestants, 10 if arguments.quick else 30)
    gflop = 2e-9 * count_macs(network)
    work = {name: 18e-9 * side**2 * channels * filters for name, (side, channels, filters) in shapes.items()}  # GFLOP
    best = max(work, key=lambda name: work[name] / result.median(name))
    yield Row(
        stage="forward",
        what=f"`lite` at {SIZE}, one image",
        unit="GFLOP/s",
        ours=gflop / result.median("ours"),
        reference=gflop / result.median("plain"),
        reference_is="plain, eager",
        ratio=result.faster("ours", "plain"),
        limit=work[best] / result.median(best),
        limit_is=f"bare 3x3 convolution, {best}",
        fraction=gflop / work[best] * result.faster("ours", best),
        must=Must("fraction", "≥", 0.7),
    )


if __name__ == "__main__":
    run_stage(measure, __doc__)
