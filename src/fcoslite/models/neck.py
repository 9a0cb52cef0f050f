"""The feature pyramid: feature maps of a backbone in, levels of equal channels out (arXiv 1612.03144)."""

import keras

from fcoslite.models.layers import NormedConv, activate, conv, norm


def build_neck(
    features: dict[int, keras.KerasTensor], strides: tuple[int, ...], channels: int, style: str
) -> list[keras.KerasTensor]:
    """Merge feature maps from the coarsest down.

    Args:
        features: Feature maps by stride.
        strides: The levels wanted. Levels coarser than any feature are made by strided convolutions.
        channels: Channels of every level.
        style: `normalised` (the original's: norm and LeakyReLU after every step), `plain` (the paper's) or
            `separable` (3x3 convolutions depthwise-separable, batch normalisation).

    Returns:
        One [B, ceil(H / stride), ceil(W / stride), channels] per level, finest first.
    """
    if style == "separable":
        return _separable(features, strides, channels)
    finish = _plain if style == "plain" else _normalised
    merged: dict[int, keras.KerasTensor] = {}
    above = None
    for stride in sorted(set(strides) & set(features), reverse=True):
        x = conv(features[stride], channels, 1, f"neck_s{stride}_lateral", bias=style == "plain")
        x = finish(x, f"neck_s{stride}_lateral")
        if above is not None:
            up = keras.layers.UpSampling2D(2, interpolation="nearest", name=f"neck_s{stride}_up")(above)
            x = finish(keras.layers.Add(name=f"neck_s{stride}_add")([x, up]), f"neck_s{stride}_fuse")
        above = merged[stride] = x
    levels: dict[int, keras.KerasTensor] = {}
    for stride in sorted(strides):
        if stride in merged:
            x = conv(merged[stride], channels, 3, f"neck_s{stride}_smooth", bias=style == "plain")
        else:
            below = levels[stride // 2]
            if stride // 2 not in merged:
                below = keras.layers.ReLU(name=f"neck_s{stride}_relu")(below)
            # an odd map is padded as an even one is, see `layers.NormedConv`
            below = keras.layers.ZeroPadding2D(((0, 2), (0, 2)), name=f"neck_s{stride}_pad")(below)
            x = conv(below, channels, 3, f"neck_s{stride}_extra", stride=2, bias=style == "plain", padding="valid")
        levels[stride] = finish(x, f"neck_s{stride}_smooth")
    return [levels[stride] for stride in sorted(strides)]


def _separable(
    features: dict[int, keras.KerasTensor], strides: tuple[int, ...], channels: int
) -> list[keras.KerasTensor]:
    levels: dict[int, keras.KerasTensor] = {}
    above = None
    for stride in sorted(set(strides) & set(features), reverse=True):
        x = NormedConv(channels, 1, activation="relu", name=f"neck_s{stride}_lateral")(features[stride])
        if above is not None:
            up = keras.layers.UpSampling2D(2, interpolation="nearest", name=f"neck_s{stride}_up")(above)
            x = keras.layers.Add(name=f"neck_s{stride}_add")([x, up])
        above = x
        levels[stride] = NormedConv(channels, 3, separable=True, activation="relu", name=f"neck_s{stride}_smooth")(x)
    for stride in sorted(set(strides) - set(features)):
        name = f"neck_s{stride}_extra"
        extra = NormedConv(channels, 3, 2, separable=True, activation="relu", padding="as_even", name=name)
        levels[stride] = extra(levels[stride // 2])
    return [levels[stride] for stride in sorted(strides)]


def _normalised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return activate(norm(x, 32, f"{name}_norm"), "leaky_relu", f"{name}_lrelu")


def _plain(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return x
