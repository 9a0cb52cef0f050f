"""The detection head, shared by all levels: class logits, distances and quality (FCOS, arXiv 1904.01355)."""

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from fcoslite.models.layers import NormedConv, norm_layer
from fcoslite.models.presets import Architecture

DISTANCE_LOGITS = "distance_logits"

# exp(8) strides is 3,000 strides: beyond any image, and far from float32's overflow
_MAX_EXPONENT = 8.0


class ScaledExp(keras.layers.Layer):
    """Distances in strides, exp(x · scale), with one learned scale per level; always float32.

    In float16 exp overflows at 11; the exponent is clipped before.
    """

    def __init__(self, start: float, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self._start = start

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the scale."""
        self.scale = self.add_weight(shape=(), initializer=keras.initializers.Constant(self._start), name="scale")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The output's shape, so that Keras need not trace the layer to find it."""
        return input_shape

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """[B, H, W, 4] -> [B, H, W, 4], positive."""
        return ops.exp(ops.clip(x * self.scale, -_MAX_EXPONENT, _MAX_EXPONENT))


class ExpectedDistance(keras.layers.Layer):
    """Distances in strides, each the mean of a distribution over whole numbers of them; always float32.

    A side that cannot be told, behind another person, may be here or there: one number alone would say neither (GFL,
    arXiv 2006.04388).
    """

    def __init__(self, bins: int, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self._bins = bins

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The output's shape, so that Keras need not trace the layer to find it."""
        return (*input_shape[:-1], 4)

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Logits [B, N, 4 · bins] -> [B, N, 4], positive."""
        strides = np.arange(self._bins, dtype=np.float32)
        sides = [ops.softmax(side, axis=-1) * strides for side in ops.split(x, 4, axis=-1)]
        return ops.concatenate([ops.sum(side, axis=-1, keepdims=True) for side in sides], axis=-1)


def build_head(
    levels: list[keras.KerasTensor], architecture: Architecture, classes: int
) -> dict[str, keras.KerasTensor]:
    """Run the head on every level and lay the levels end to end, finest first.

    Args:
        levels: [B, H, W, C] for each level.
        architecture: Depth, width, activation and starting values.
        classes: Number of classes, C.

    Returns:
        float32 `class_logits` [B, N, C], `distances` [B, N, 4] (left, top, right, bottom, in strides),
        `quality_logits` [B, N, 1] (unless the architecture has no quality); N = sum of H · W over the levels. Where
        distances are distributions, their logits [B, N, 4 · bins] come out of a layer `DISTANCE_LOGITS`.
    """
    tower = _separable_tower if architecture.head_separable else _tower
    class_tower, box_tower = tower("head_class", architecture), tower("head_box", architecture)
    class_bias = -math.log((1 - architecture.prior) / architecture.prior)
    class_output = _output(classes, class_bias, "head_class_logits")
    bins = architecture.distance_bins
    distance_output = (
        _output(4, architecture.distance_bias, "head_distances") if bins is None else _distribution_output(bins)
    )
    quality_output = _output(1, architecture.quality_bias, "head_quality_logits")
    outputs: dict[str, list[keras.KerasTensor]] = {}
    for index, (stride, level) in enumerate(zip(architecture.strides, levels, strict=True)):
        class_features, box_features = class_tower(level, index), box_tower(level, index)
        results = {"class_logits": class_output(class_features)}
        if bins is None:
            scaled_exp = ScaledExp(architecture.distance_scale, name=f"head_s{stride}_exp")
            results["distances"] = scaled_exp(distance_output(box_features))
        else:
            results[DISTANCE_LOGITS] = distance_output(box_features)
        if architecture.quality != "none":
            results["quality_logits"] = quality_output(box_features)
        for key, value in results.items():
            flat = keras.layers.Reshape((-1, value.shape[-1]), dtype="float32", name=f"head_s{stride}_{key}_flat")
            outputs.setdefault(key, []).append(flat(value))
    whole = {key: keras.layers.Concatenate(axis=1, dtype="float32", name=key)(outputs[key]) for key in outputs}
    if bins is not None:
        whole["distances"] = ExpectedDistance(bins, name="distances")(whole.pop(DISTANCE_LOGITS))
    return whole


# feature map and index of its level to the features that outputs are read from
_Tower = Callable[[keras.KerasTensor, int], keras.KerasTensor]


def _tower(name: str, architecture: Architecture) -> _Tower:
    """Dense convolutions and GroupNormalization, all shared by all levels."""
    layers: list[keras.layers.Layer] = []
    for index in range(architecture.head_depth):
        channels, groups = architecture.head_channels, architecture.head_groups
        layers += [
            keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv{index}"),
            norm_layer(groups, f"{name}_norm{index}"),
            keras.layers.Activation(architecture.head_activation, name=f"{name}_act{index}"),
        ]

    def run(x: keras.KerasTensor, level: int) -> keras.KerasTensor:
        for layer in layers:
            x = layer(x)
        return x

    return run


def _separable_tower(name: str, architecture: Architecture) -> _Tower:
    """Separable convolutions shared by all levels; batch normalisation, of which each level has its own."""
    layers = [
        NormedConv(
            architecture.head_channels,
            3,
            separable=True,
            activation=architecture.head_activation,
            levels=len(architecture.strides),
            name=f"{name}_conv{index}",
        )
        for index in range(architecture.head_depth)
    ]

    def run(x: keras.KerasTensor, level: int) -> keras.KerasTensor:
        for layer in layers:
            x = layer(x, level=level)
        return x

    return run


def _output(channels: int, bias: float, name: str) -> keras.layers.Layer:
    start = keras.initializers.Constant(bias)
    return keras.layers.Conv2D(channels, 1, bias_initializer=start, name=name)


def _distribution_output(bins: int) -> keras.layers.Layer:
    def falling(shape: tuple[int, ...], dtype: str | None = None) -> keras.KerasTensor:
        # a mean of about e strides, as exp has it at the start; short distances are the most frequent
        return ops.convert_to_tensor(np.tile(-np.arange(bins) / 3.0, 4).astype(np.float32))

    start = keras.initializers.RandomNormal(stddev=0.01)
    return keras.layers.Conv2D(4 * bins, 1, kernel_initializer=start, bias_initializer=falling, name="head_distances")
