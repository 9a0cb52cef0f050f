"""The original detector's backbone: bottleneck blocks with group normalisation."""

import keras

from fcoslite.models.layers import activate, conv, norm


def bottleneck(images: keras.KerasTensor) -> dict[int, keras.KerasTensor]:
    """The original detector's backbone, strides 4 to 32, trained from scratch."""
    x = conv(images, 32, 5, "backbone_stem_conv", stride=2)
    x = activate(norm(x, 16, "backbone_stem_norm"), "elu", "backbone_stem_elu")
    x = keras.layers.MaxPooling2D(2, padding="same", name="backbone_stem_pool")(x)
    x = _block(x, 32, 1, "backbone_c2a")
    c2 = _block(x, 32, 1, "backbone_c2b")
    x = _block(c2, 64, 2, "backbone_c3a")
    c3 = _block(x, 64, 1, "backbone_c3b")
    c4 = _block(c3, 128, 2, "backbone_c4a")
    c5 = _block(c4, 128, 2, "backbone_c5a")
    return {4: c2, 8: c3, 16: c4, 32: c5}


def _block(x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
    """1x1 (strided), 3x3, 1x1 to twice the filters, shortcut; then one more 3x3."""
    wide = 2 * filters
    y = conv(x, filters, 1, f"{name}_conv1", stride=stride)
    y = activate(norm(y, 32, f"{name}_norm1"), "elu", f"{name}_elu1")
    y = conv(y, filters, 3, f"{name}_conv2")
    y = activate(norm(y, 32, f"{name}_norm2"), "elu", f"{name}_elu2")
    y = conv(y, wide, 1, f"{name}_conv3")
    if stride > 1 or x.shape[-1] != wide:
        x = conv(x, wide, 1, f"{name}_shortcut", stride=stride)
    y = keras.layers.Add(name=f"{name}_add")([y, x])
    y = activate(norm(y, 32, f"{name}_norm3"), "elu", f"{name}_elu3")
    y = conv(y, wide, 3, f"{name}_conv4")
    return activate(norm(y, 32, f"{name}_norm4"), "elu", f"{name}_elu4")
