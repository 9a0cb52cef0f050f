"""The layers everything is made of, so that names and epsilon are decided once."""

import keras


def conv(
    x: keras.KerasTensor, filters: int, size: int, name: str, stride: int = 1, bias: bool = False
) -> keras.KerasTensor:
    """A SAME convolution: [B, H, W, C] -> [B, H / stride, W / stride, filters]."""
    layer = keras.layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=bias, name=name)
    return layer(x)


def norm_layer(groups: int, name: str) -> keras.layers.Layer:
    """GroupNormalization (arXiv 1803.08494) with tensorflow-addons' epsilon, 1e-3; a layer to share."""
    return keras.layers.GroupNormalization(groups=groups, epsilon=1e-3, name=name)


def norm(x: keras.KerasTensor, groups: int, name: str) -> keras.KerasTensor:
    """A `norm_layer` of its own: [B, H, W, C] -> [B, H, W, C]."""
    return norm_layer(groups, name)(x)


def activate(x: keras.KerasTensor, function: str, name: str) -> keras.KerasTensor:
    """An activation by its Keras name; `leaky_relu` has the mission's slope, 0.01."""
    if function == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=0.01, name=name)(x)
    return keras.layers.Activation(function, name=name)(x)
