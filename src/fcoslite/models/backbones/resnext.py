"""ResNeXt-50 32x4d: ResNet-50 whose 3x3 convolutions have 32 groups (arXiv 1611.05431, table 1)."""

import keras

from fcoslite.models.layers import NormedConv

_GROUPS = 32
# width of the grouped convolutions, blocks; a stage gives twice its width
_STAGES = ((128, 3), (256, 4), (512, 6), (1024, 3))
# of the ImageNet images, RGB in [0, 1]: what torchvision's weights expect
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def resnext50(images: keras.KerasTensor, norms: str) -> dict[int, keras.KerasTensor]:
    """ResNeXt-50 32x4d without its classifier, strides 8 to 32.

    It computes what torchvision's `resnext50_32x4d` does: pixels are normalised alike, the stride is in the grouped
    convolution, padding is centred, and epsilon is 1e-5.

    Args:
        images: [B, S, S, 3], values in [0, 1].
        norms: `running` or `frozen`, see `NormedConv`.

    Returns:
        Feature maps of 512, 1,024 and 2,048 channels by stride in pixels.
    """
    scale = [1.0 / deviation for deviation in _DEVIATION]
    offset = [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
    x = keras.layers.Rescaling(scale, offset=offset, name="backbone_scale")(images)
    x = _conv(x, 64, 7, "backbone_stem", norms, stride=2)
    x = keras.layers.ZeroPadding2D(1, name="backbone_pool_pad")(x)  # nothing is below zero after the activation
    x = keras.layers.MaxPooling2D(3, strides=2, name="backbone_pool")(x)
    stride = 4
    features: dict[int, keras.KerasTensor] = {}
    for stage, (width, blocks) in enumerate(_STAGES):
        for block in range(blocks):
            step = 2 if stage > 0 and block == 0 else 1
            stride *= step
            x = _block(x, width, step, norms, f"backbone_stage{stage + 1}_block{block}")
        features[stride] = x
    return {stride: features[stride] for stride in (8, 16, 32)}


def _block(x: keras.KerasTensor, width: int, stride: int, norms: str, name: str) -> keras.KerasTensor:
    """1x1, grouped 3x3, 1x1 to twice the width; plus the input, by a 1x1 where shapes differ."""
    y = _conv(x, width, 1, f"{name}_conv1", norms)
    y = _conv(y, width, 3, f"{name}_conv2", norms, stride=stride, groups=_GROUPS)
    y = _conv(y, 2 * width, 1, f"{name}_conv3", norms, activation=None)
    if x.shape[-1] != 2 * width:
        x = _conv(x, 2 * width, 1, f"{name}_shortcut", norms, stride=stride, activation=None)
    y = keras.layers.Add(name=f"{name}_add")([y, x])
    return keras.layers.ReLU(name=f"{name}_relu")(y)


def _conv(
    x: keras.KerasTensor,
    filters: int,
    size: int,
    name: str,
    norms: str,
    stride: int = 1,
    groups: int = 1,
    activation: str | None = "relu",
) -> keras.KerasTensor:
    layer = NormedConv(
        filters,
        size,
        stride,
        activation=activation,
        norms=norms,
        groups=groups,
        padding="centred",
        epsilon=1e-5,
        name=name,
    )
    return layer(x)
