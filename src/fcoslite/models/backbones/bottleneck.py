"""Backbones: an image in, feature maps of several strides out."""

from pathlib import Path

import keras

from fcoslite.errors import WeightsError
from fcoslite.models.backbones.efficientnet import efficientnet_lite0
from fcoslite.models.backbones.resnet import check_keras_file
from fcoslite.models.layers import activate, conv, norm


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


def bottleneck(images: keras.KerasTensor) -> dict[int, keras.KerasTensor]:
    """The mission's backbone, strides 4 to 32, trained from scratch."""
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


def resnet50(images: keras.KerasTensor, weights: str | None = None) -> dict[int, keras.KerasTensor]:
    """ResNet-50 of keras.applications, strides 8 to 32.

    Its ImageNet weights expect BGR in 0-255 with the channel means taken off; that happens here, so that every
    backbone takes the same input.
    """
    if weights is not None:
        check_keras_file(Path(weights))
        weights = str(Path(weights).resolve())  # keras.applications takes some names for what it can download
    mean = [103.939, 116.779, 123.68]  # BGR, keras.applications' "caffe" preprocessing
    bgr = keras.layers.Rescaling(255.0, offset=[-value for value in reversed(mean)], name="backbone_scale")(images)
    bgr = keras.ops.flip(bgr, axis=-1)
    try:
        network = keras.applications.ResNet50(
            include_top=False, weights=weights, input_tensor=bgr, name="backbone_resnet50"
        )
    except Exception as error:  # Keras takes the file for granted, and fails wherever it is not what it expects
        if weights is None:
            raise
        raise WeightsError(f"{weights} does not fit ResNet-50: {error}", "take the file without the top") from None
    names = {8: "conv3_block4_out", 16: "conv4_block6_out", 32: "conv5_block3_out"}
    return {stride: network.get_layer(name).output for stride, name in names.items()}
