"""ResNeXt-50 32x4d (arXiv 1611.05431, table 1): ResNet-50's bottlenecks with a grouped 3x3, 32 groups of 4 channels."""

import keras

from fcoslite.models.layers import NormedConv

_GROUPS = 32
# channels inside and after a block, blocks: stages conv2 to conv5
_STAGES = ((128, 256, 3), (256, 512, 4), (512, 1024, 6), (1024, 2048, 3))
# of ImageNet's pixels in [0, 1], RGB; weights trained on it expect images less the one, over the other
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def resnext50(images: keras.KerasTensor, norms: str) -> dict[int, keras.KerasTensor]:
    """ResNeXt-50 32x4d without its classifier, strides 8 to 32.

    The stride of a stage is its first 3x3 convolution's, as in the authors' code.

    Args:
        images: [B, S, S, 3], values in [0, 1].
        norms: `running` or `frozen`, see `NormedConv`.

    Returns:
        Feature maps of 512, 1,024 and 2,048 channels by stride in pixels.
    """
    scale = [1.0 / deviation for deviation in _DEVIATION]
    offset = [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
    x = keras.layers.Rescaling(scale, offset=offset, name="backbone_scale")(images)
    x = NormedConv(64, 7, stride=2, activation="relu", norms=norms, name="backbone_stem")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="backbone_stem_pool")(x)
    by_stride: dict[int, keras.KerasTensor] = {}
    for index, (width, channels, blocks) in enumerate(_STAGES):
        for block in range(blocks):
            stride = 2 if index > 0 and block == 0 else 1
            x = _block(x, width, channels, stride, norms, f"backbone_c{index + 2}_block{block}")
        by_stride[4 << index] = x
    return {stride: by_stride[stride] for stride in (8, 16, 32)}


def _block(x: keras.KerasTensor, width: int, channels: int, stride: int, norms: str, name: str) -> keras.KerasTensor:
    """1x1, grouped 3x3, 1x1 without activation; plus the shortcut, 1x1 where shapes differ; ReLU."""
    y = NormedConv(width, 1, activation="relu", norms=norms, name=f"{name}_reduce")(x)
    y = NormedConv(width, 3, stride=stride, groups=_GROUPS, activation="relu", norms=norms, name=f"{name}_grouped")(y)
    y = NormedConv(channels, 1, norms=norms, name=f"{name}_expand")(y)
    if stride > 1 or x.shape[-1] != channels:
        x = NormedConv(channels, 1, stride=stride, norms=norms, name=f"{name}_shortcut")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([y, x]))
