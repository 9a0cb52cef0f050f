"""Backbones: an image in, feature maps of several strides out."""

import keras

from fcoslite.models.backbones.bottleneck import bottleneck
from fcoslite.models.backbones.efficientnet import efficientnet_lite0
from fcoslite.models.backbones.resnet import resnet50


def build_backbone(
    name: str, images: keras.KerasTensor, norms: str, weights: str | None = None
) -> dict[int, keras.KerasTensor]:
    """Run a backbone by name.

    Args:
        name: `bottleneck`, `efficientnet_lite0` or `resnet50`.
        images: [B, S, S, 3], values in [0, 1].
        norms: `running` or `frozen`, for `efficientnet_lite0`.
        weights: A file of Keras' own for `resnet50`, or None for random weights.

    Returns:
        Feature maps by stride in pixels.

    Raises:
        WeightsError: The weights file is missing or does not fit.
    """
    if name == "bottleneck":
        return bottleneck(images)
    if name == "efficientnet_lite0":
        return efficientnet_lite0(images, norms)
    return resnet50(images, weights)
