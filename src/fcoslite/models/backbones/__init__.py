"""Backbones: an image in, feature maps of several strides out."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from fcoslite.errors import ConfigError
from fcoslite.models.backbones.bottleneck import bottleneck
from fcoslite.models.backbones.efficientnet import efficientnet_lite0
from fcoslite.models.backbones.resnet import resnet50
from fcoslite.models.backbones.resnext import resnext50

Features = dict[int, keras.KerasTensor]  # feature maps by stride in pixels


@dataclass(frozen=True)
class Backbone:
    """What the rest of the program needs to know about a backbone.

    Attributes:
        build: From images [B, S, S, 3] in [0, 1] to feature maps; takes `norms` and `weights`, too, if so said below.
        strides: Of its feature maps, finest first, pixels.
        norms: Whether its batch normalisation is a choice, `running` or `frozen`, see `models.layers.NormedConv`.
        keras_file: Whether `build` loads its weights, from a file of Keras' own. The weights of the others lie in our
            .npz files, of a backbone alone or of a whole detector, and `models.weights.load_backbone` loads them.
    """

    build: Callable[..., Features]
    strides: tuple[int, ...]
    norms: bool = False
    keras_file: bool = False


# one more backbone is a file, a row here, and its name in config.settings.ModelSettings
BACKBONES = {
    "bottleneck": Backbone(bottleneck, (4, 8, 16, 32)),
    "efficientnet_lite0": Backbone(efficientnet_lite0, (8, 16, 32), norms=True),
    "resnet50": Backbone(resnet50, (8, 16, 32), keras_file=True),
    "resnext50": Backbone(resnext50, (8, 16, 32), norms=True),
}


def build_backbone(
    name: str, images: keras.KerasTensor, strides: tuple[int, ...], norms: str, weights: str | None = None
) -> Features:
    """Run a backbone by name.

    Args:
        name: Of a row of `BACKBONES`.
        images: [B, S, S, 3], values in [0, 1].
        strides: Of the levels wanted; those coarser than all of its own are no concern of the backbone.
        norms: `running` or `frozen`, for a backbone that knows both.
        weights: A file of Keras' own, for a backbone that loads one; or None for random weights.

    Returns:
        Feature maps by stride in pixels.

    Raises:
        ConfigError: It has no map as fine as a level.
        WeightsError: The weights file is missing or does not fit.
    """
    backbone = BACKBONES[name]
    missing = [stride for stride in strides if stride not in backbone.strides and stride < max(backbone.strides)]
    if missing:
        raise ConfigError(
            f"model.strides: the backbone has no map of stride {missing[0]}", f"it has {list(backbone.strides)}"
        )
    options = {"norms": norms} if backbone.norms else {}
    if backbone.keras_file and weights is not None:
        options["weights"] = weights
    return backbone.build(images, **options)
