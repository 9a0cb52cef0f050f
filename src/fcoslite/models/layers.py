"""The layers everything is made of, so that names and epsilon are decided once."""

import math
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
from keras import ops


def conv(
    x: keras.KerasTensor,
    filters: int,
    size: int,
    name: str,
    stride: int = 1,
    bias: bool = False,
    padding: Literal["same", "valid"] = "same",
) -> keras.KerasTensor:
    """A convolution: [B, H, W, C] -> [B, H / stride, W / stride, filters], if it is a SAME one."""
    layer = keras.layers.Conv2D(filters, size, strides=stride, padding=padding, use_bias=bias, name=name)
    return layer(x)


def norm_layer(groups: int, name: str) -> keras.layers.Layer:
    """GroupNormalization (arXiv 1803.08494) with tensorflow-addons' epsilon, 1e-3; a layer to share."""
    return GroupNorm(groups=groups, epsilon=1e-3, name=name)


def norm(x: keras.KerasTensor, groups: int, name: str) -> keras.KerasTensor:
    """A `norm_layer` of its own: [B, H, W, C] -> [B, H, W, C]."""
    return norm_layer(groups, name)(x)


def activate(x: keras.KerasTensor, function: str, name: str) -> keras.KerasTensor:
    """An activation by its Keras name; `leaky_relu` has the original detector's slope, 0.01."""
    if function == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=0.01, name=name)(x)
    return keras.layers.Activation(function, name=name)(x)


class GroupNorm(keras.layers.GroupNormalization):
    """Keras' layer, computed in fewer passes over the feature map, and more exactly.

    The sums of a group are those of its channels, so both statistics come from two sums per channel, and normalisation
    is a scale and a shift of each channel. Variance is the mean of squares less the square of the mean, in float32;
    that loses bits where a mean is a hundred times its deviation or more, which the output of a convolution is not.
    """

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """[B, H, W, C] -> [B, H, W, C]."""
        by_group = (-1, self.groups, x.shape[-1] // self.groups)
        values = ops.cast(x, "float32")

        def average(of: keras.KerasTensor) -> keras.KerasTensor:
            # axis by axis: a backend adds up a whole map one by one, and float32 runs out of bits
            channels = ops.mean(ops.mean(of, axis=2), axis=1)
            return ops.mean(ops.reshape(channels, by_group), axis=-1, keepdims=True)  # (B, G, 1)

        mean, square = average(values), average(ops.square(values))
        deviation = ops.sqrt(ops.maximum(square - ops.square(mean), 0.0) + self.epsilon)  # (B, G, 1)
        gamma, beta = (ops.reshape(ops.cast(vector, "float32"), by_group) for vector in (self.gamma, self.beta))
        scale, shift = gamma / deviation, beta - mean * gamma / deviation  # (B, G, C / G)
        scale, shift = (ops.reshape(ops.cast(v, x.dtype), (-1, 1, 1, x.shape[-1])) for v in (scale, shift))
        return x * scale + shift


Padding = Literal["same", "as_even", "centred"]

# by the side of the kernel: rows before and after, and columns
_PADS: dict[Padding, Callable[[int], tuple[int, int]]] = {
    # of an even map no kernel reaches the last one
    "as_even": lambda size: ((size - 2) // 2, size // 2 + 1),
    "centred": lambda size: (size // 2, size // 2),
}


class NormedConv(keras.layers.Layer):
    """A SAME convolution without bias, batch normalisation (arXiv 1502.03167), and perhaps an activation.

    Except while running statistics are gathered, normalisation is a scale and a shift of each channel. Both go into
    the kernel and a bias before the convolution: that is the same function at the cost of a bare convolution, in
    training too, where a normalisation of its own would read and write every feature map twice more.

    Args:
        filters: Output channels; None makes the convolution depthwise.
        size: Side of the kernel.
        stride: Of the convolution.
        separable: Whether a depthwise convolution of that size and stride comes first and this is 1x1.
        activation: A Keras name, or None.
        norms: `running` normalises a training batch by its own statistics and averages them for inference;
            `frozen` uses the averages as they are, which suits small batches and a pretrained backbone.
        levels: Feature maps of different scale that share the kernel; each has a normalisation of its own.
        groups: Of channels that see each other; the kernel is [h, w, in / groups, filters].
        padding: Of a strided convolution. `same` pads an even map more at its bottom and right, and an odd one alike
            at all sides, which moves all that is seen by half a stride; `as_even` pads an odd one as if it had one more
            row and column; `centred` pads all alike, as PyTorch's networks do.
        epsilon: Added to variances.
        name: Of the layer.
    """

    _MOMENTUM = 0.99

    def __init__(
        self,
        filters: int | None,
        size: int,
        stride: int = 1,
        separable: bool = False,
        activation: str | None = None,
        norms: str = "running",
        levels: int = 1,
        groups: int = 1,
        padding: Padding = "same",
        epsilon: float = 1e-3,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self._filters = filters
        self._size = size
        self._stride = stride
        self._separable = separable
        self._activation = keras.activations.get(activation)
        self._running = norms == "running"
        self._levels = levels
        self._groups = groups
        self._pads = _PADS[padding](size) if stride > 1 and padding != "same" else None
        self._padding = "same" if self._pads is None else "valid"
        self._epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create kernels, scales, shifts and statistics."""
        incoming = input_shape[-1]
        assert incoming is not None
        channels = self._filters or incoming
        size = self._size
        if self._separable:
            self.depthwise = self._add_kernel((size, size, incoming, 1), "depthwise_kernel")
            size = 1
        self.kernel = self._add_kernel((size, size, incoming // self._groups, self._filters or 1), "kernel")
        self.gamma = self._add_vector(channels, "ones", "gamma")
        self.beta = self._add_vector(channels, "zeros", "beta")
        self.mean = self._add_vector(channels, "zeros", "mean", trainable=False)
        self.variance = self._add_vector(channels, "ones", "variance", trainable=False)

    def _add_kernel(self, shape: tuple[int, ...], name: str) -> keras.Variable:
        # a depthwise kernel [h, w, in, 1] has a fan-in of h · w
        fan_in = shape[0] * shape[1] * (shape[2] if shape[3] > 1 else 1)
        start = keras.initializers.RandomNormal(stddev=(2.0 / fan_in) ** 0.5)
        return self.add_weight(shape=shape, initializer=start, name=name, autocast=False)

    def _add_vector(self, channels: int, start: str, name: str, trainable: bool = True) -> keras.Variable:
        # without autocast: in mixed precision, too, statistics and folding need float32
        return self.add_weight(
            shape=(self._levels, channels), initializer=start, trainable=trainable, name=name, autocast=False
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...], **options: Any) -> tuple[int | None, ...]:
        """The output's shape, so that Keras need not trace the layer to find it."""
        sides = [None if side is None else -(-side // self._stride) for side in input_shape[1:3]]
        return (input_shape[0], *sides, self._filters or input_shape[3])

    def call(self, x: keras.KerasTensor, training: bool = False, level: int = 0) -> keras.KerasTensor:
        """[B, H, W, C] -> [B, H / stride, W / stride, filters]."""
        stride = self._stride
        if self._pads is not None:
            x = ops.pad(x, ((0, 0), self._pads, self._pads, (0, 0)))
        if self._separable:
            kernel = ops.cast(self.depthwise, x.dtype)
            x, stride = ops.depthwise_conv(x, kernel, strides=stride, padding=self._padding), 1
        gamma, beta = self.gamma[level], self.beta[level]
        if training and self._running:
            y = self._convolve(x, self.kernel, stride)
            mean, variance = ops.moments(ops.cast(y, "float32"), axes=(0, 1, 2))
            self._average(self.mean, mean, level)
            self._average(self.variance, variance, level)
            scale = gamma * ops.rsqrt(variance + self._epsilon)
            return self._activation(y * ops.cast(scale, y.dtype) + ops.cast(beta - mean * scale, y.dtype))
        scale = gamma * ops.rsqrt(self.variance[level] + self._epsilon)
        by_output = scale[:, None] if self._filters is None else scale
        bias = ops.cast(beta - self.mean[level] * scale, x.dtype)
        return self._activation(self._convolve(x, self.kernel * by_output, stride) + bias)

    def _average(self, running: keras.Variable, value: keras.KerasTensor, level: int) -> None:
        here = np.eye(self._levels, dtype=np.float32)[level][:, None] * (1 - self._MOMENTUM)
        # loss scaling skips the step of a batch that overflows, but not what its forward pass leaves here
        value = ops.where(ops.isfinite(value), ops.stop_gradient(value), running[level])
        running.assign(running * (1 - here) + value * here)

    def _convolve(self, x: keras.KerasTensor, kernel: keras.KerasTensor, stride: int) -> keras.KerasTensor:
        kernel = ops.cast(kernel, x.dtype)
        if self._groups > 1:
            return convolve_groups(x, kernel, self._groups, stride, self._padding)
        convolve = ops.depthwise_conv if self._filters is None else ops.conv
        return convolve(x, kernel, strides=stride, padding=self._padding)


_BLOCK_CHANNELS = 128


def convolve_groups(
    x: keras.KerasTensor, kernel: keras.KerasTensor, groups: int, stride: int, padding: str
) -> keras.KerasTensor:
    """A convolution of groups of channels that do not see each other: [B, H, W, C] -> [B, H', W', filters].

    Narrow groups are computed together, in blocks of up to 128 channels, with zeros in the kernel where two groups
    meet. Those are multiplications for nothing, but XLA's own grouped convolution, the only one that Keras offers on a
    CPU, takes 30 to 100 times as long for its gradients.

    Args:
        x: [B, H, W, C].
        kernel: [h, w, C / groups, filters].
        groups: Divides C and filters.
        stride: Of the convolution.
        padding: `same` or `valid`.
    """
    incoming, outgoing = kernel.shape[2], kernel.shape[3] // groups  # channels per group
    together = math.gcd(groups, max(1, _BLOCK_CHANNELS // incoming))  # groups per block
    blocks = groups // together
    own = np.kron(np.eye(together), np.ones((incoming, outgoing)))
    mask = ops.convert_to_tensor(np.tile(own, (1, blocks)), dtype=kernel.dtype)
    kernel = ops.tile(kernel, (1, 1, together, 1)) * mask  # (h, w, C / blocks, filters)
    parts = zip(ops.split(x, blocks, axis=-1), ops.split(kernel, blocks, axis=-1), strict=True)
    return ops.concatenate([ops.conv(*part, strides=stride, padding=padding) for part in parts], axis=-1)
