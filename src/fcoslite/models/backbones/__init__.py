"""Backbones: an image in, feature maps of several strides out. One more is a file, and a row of the table."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from fcoslite.models.backbones.bottleneck import bottleneck
from fcoslite.models.backbones.efficientnet import efficientnet_lite0
from fcoslite.models.backbones.resnet import resnet50
from fcoslite.models.backbones.resnext import resnext50


@dataclass(frozen=True)
class Backbone:
    """A row of the table.

    Attributes:
        build: Images [B, S, S, 3] with values in [0, 1], `running` or `frozen` norms, and a file or None -> feature
            maps by stride in pixels. What a backbone has no use for it ignores.
        reads_file: Whether `build` reads the weights it starts from, in somebody else's format. Those of the others
            are weights files of ours, for `weights.load_backbone` once the detector is built.
    """

    build: Callable[[keras.KerasTensor, str, str | None], dict[int, keras.KerasTensor]]
    reads_file: bool = False


BACKBONES = {
    "bottleneck": Backbone(lambda images, norms, file: bottleneck(images)),
    "efficientnet_lite0": Backbone(lambda images, norms, file: efficientnet_lite0(images, norms)),
    "resnet50": Backbone(lambda images, norms, file: resnet50(images, file), reads_file=True),
    "resnext50": Backbone(lambda images, norms, file: resnext50(images, norms)),
}
