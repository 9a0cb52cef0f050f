"""The detection head, shared by all levels: class logits, distances and centerness (FCOS, arXiv 1904.01355)."""

import math

import keras
from keras import ops

from fcoslite.models.layers import norm_layer
from fcoslite.models.presets import Architecture

# exp(8) strides is 3,000 strides: beyond any image, and far from float32's overflow
_MAX_EXPONENT = 8.0


class ScaledExp(keras.layers.Layer):
    """Distances in strides, exp(x · scale), with one learned scale a level; always float32.

    In float16 exp overflows at 11; the exponent is clipped before.
    """

    def __init__(self, start: float, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self._start = start

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the scale."""
        self.scale = self.add_weight(shape=(), initializer=keras.initializers.Constant(self._start), name="scale")

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """[B, H, W, 4] -> [B, H, W, 4], positive."""
        return ops.exp(ops.clip(x * self.scale, -_MAX_EXPONENT, _MAX_EXPONENT))


def build_head(
    levels: list[keras.KerasTensor], architecture: Architecture, classes: int
) -> dict[str, keras.KerasTensor]:
    """Run the head on every level and lay the levels end to end, finest first.

    Args:
        levels: [B, H, W, C] a level.
        architecture: Depth, width, activation and starting values.
        classes: Number of classes, C.

    Returns:
        float32 `class_logits` [B, N, C], `distances` [B, N, 4] (left, top, right, bottom, in strides),
        `centerness_logits` [B, N, 1]; N = sum of H · W over the levels.
    """
    class_tower = _tower("head_class", architecture)
    box_tower = _tower("head_box", architecture)
    class_bias = -math.log((1 - architecture.prior) / architecture.prior)
    class_output = _output(classes, class_bias, "head_class_logits")
    distance_output = _output(4, architecture.distance_bias, "head_distances")
    centerness_output = _output(1, architecture.centerness_bias, "head_centerness_logits")
    outputs: dict[str, list[keras.KerasTensor]] = {
        "class_logits": [],
        "distances": [],
        "centerness_logits": [],
    }
    for stride, level in zip(architecture.strides, levels, strict=True):
        class_features, box_features = level, level
        for layer in class_tower:
            class_features = layer(class_features)
        for layer in box_tower:
            box_features = layer(box_features)
        scaled_exp = ScaledExp(architecture.distance_scale, name=f"head_s{stride}_exp")
        results = {
            "class_logits": class_output(class_features),
            "distances": scaled_exp(distance_output(box_features)),
            "centerness_logits": centerness_output(box_features),
        }
        for key, value in results.items():
            flat = keras.layers.Reshape((-1, value.shape[-1]), dtype="float32", name=f"head_s{stride}_{key}_flat")
            outputs[key].append(flat(value))
    return {key: keras.layers.Concatenate(axis=1, dtype="float32", name=key)(values) for key, values in outputs.items()}


def _tower(name: str, architecture: Architecture) -> list[keras.layers.Layer]:
    layers: list[keras.layers.Layer] = []
    for index in range(architecture.head_depth):
        conv = keras.layers.Conv2D(
            architecture.head_channels, 3, padding="same", use_bias=False, name=f"{name}_conv{index}"
        )
        norm = norm_layer(architecture.head_groups, f"{name}_norm{index}")
        activation = keras.layers.Activation(architecture.head_activation, name=f"{name}_act{index}")
        layers += [conv, norm, activation]
    return layers


def _output(channels: int, bias: float, name: str) -> keras.layers.Layer:
    start = keras.initializers.Constant(bias)
    return keras.layers.Conv2D(channels, 1, bias_initializer=start, name=name)
