"""EfficientNet-Lite0, a backbone with ImageNet weights (arXiv 1905.11946; the Lite variant: no squeeze-and-excitation,
ReLU6, a stem of fixed width)."""

import keras

from fcoslite.models.layers import NormedConv

# kernel, stride of the first block, expansion, output channels, blocks: EfficientNet-B0's stages
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM_CHANNELS = 32


def efficientnet_lite0(images: keras.KerasTensor, norms: str) -> dict[int, keras.KerasTensor]:
    """EfficientNet-Lite0 without its classifier, strides 8 to 32.

    Args:
        images: [B, S, S, 3], values in [0, 1].
        norms: `running` or `frozen`, see `NormedConv`.

    Returns:
        Feature maps of 40, 112 and 320 channels by stride in pixels.
    """
    # ImageNet training shifted 0-255 by 127 and divided by 128
    x = keras.layers.Rescaling(255.0 / 128.0, offset=-127.0 / 128.0, name="backbone_scale")(images)
    x = NormedConv(_STEM_CHANNELS, 3, stride=2, activation="relu6", norms=norms, name="backbone_stem")(x)
    stride, index = 2, 0
    by_stride: dict[int, keras.KerasTensor] = {}
    for kernel, first_stride, expansion, channels, blocks in _STAGES:
        for block in range(blocks):
            step = first_stride if block == 0 else 1
            stride *= step
            x = _inverted_bottleneck(x, kernel, step, expansion, channels, norms, f"backbone_block{index}")
            index += 1
        by_stride[stride] = x  # the last of a stride wins
    return {stride: by_stride[stride] for stride in (8, 16, 32)}


def _inverted_bottleneck(
    x: keras.KerasTensor, kernel: int, stride: int, expansion: int, channels: int, norms: str, name: str
) -> keras.KerasTensor:
    """1x1 to a multiple of the channels, depthwise, 1x1 without activation; shortcut where shapes agree."""
    y = x
    if expansion > 1:
        width = x.shape[-1] * expansion
        y = NormedConv(width, 1, activation="relu6", norms=norms, name=f"{name}_expand")(y)
    y = NormedConv(None, kernel, stride=stride, activation="relu6", norms=norms, name=f"{name}_depthwise")(y)
    y = NormedConv(channels, 1, norms=norms, name=f"{name}_project")(y)
    if stride > 1 or x.shape[-1] != channels:
        return y
    return keras.layers.Add(name=f"{name}_add")([x, y])
