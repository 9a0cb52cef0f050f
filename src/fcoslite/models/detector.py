"""A detector: backbone, neck and head in one functional model, and what is known about it."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras

from fcoslite.config.settings import ModelSettings
from fcoslite.models.backbones import build_backbone
from fcoslite.models.head import DISTANCE_LOGITS, build_head
from fcoslite.models.neck import build_neck
from fcoslite.models.presets import Architecture, architecture, free_step


@dataclass(frozen=True)
class Detector:
    """A network and the facts that its outputs cannot be read without.

    Attributes:
        network: Keras model: [B, S, S, 3] in [0, 1] -> `class_logits` [B, N, C], `distances` [B, N, 4] in strides,
            `quality_logits` [B, N, 1] where the architecture has a quality, all float32. With free sides [B, H, W, 3],
            see `step`.
        settings: As asked for, with `classes` filled in.
        architecture: As built.
    """

    network: keras.Model
    settings: ModelSettings
    architecture: Architecture

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by channel; the class id in files is channel + 1."""
        assert self.settings.classes is not None
        return self.settings.classes

    @property
    def image_size(self) -> int:
        """Side of the letterboxed input, pixels."""
        return self.settings.image_size

    @property
    def step(self) -> int:
        """What the sides of the input may be multiples of, pixels: S itself, where it is a square of S."""
        free = self.network.input_shape[1] is None
        return free_step(self.architecture.strides) if free else self.image_size


def build_detector(
    settings: ModelSettings, precision: str = "float32", seed: int | None = None, free_sides: bool = False
) -> Detector:
    """Build a detector with random weights.

    `settings.backbone_weights` is read here for a backbone that takes a file of Keras' own; that of the others is
    loaded by `weights.load_backbone`.

    Args:
        settings: `classes` None takes the preset's.
        precision: A Keras dtype policy; outputs are float32 under all of them.
        seed: Of the initial weights; None leaves Keras' random state alone.
        free_sides: Take images of any sides that are multiples of `step`.

    Raises:
        ConfigError: The settings do not fit together.
        WeightsError: The backbone weights cannot be used.
    """
    shape = architecture(settings)
    settings = settings.model_copy(update={"classes": settings.classes or shape.classes})
    if seed is not None:
        keras.utils.set_random_seed(seed)
    with _dtype_policy(precision):
        side = None if free_sides else settings.image_size
        images = keras.Input((side, side, 3), name="images", dtype="float32")
        features = build_backbone(shape.backbone, images, shape.strides, shape.norms, settings.backbone_weights)
        levels = build_neck(features, shape.strides, shape.neck_channels, shape.neck)
        outputs = build_head(levels, shape, len(settings.classes or ()))
        network = keras.Model(images, outputs, name=settings.preset)
    return Detector(network, settings, shape)


def loss_network(detector: Detector) -> keras.Model:
    """The network with all that losses need: `distance_logits` [B, N, 4 · bins], if distances are distributions."""
    network = detector.network
    if detector.architecture.distance_bins is None:
        return network
    logits = network.get_layer(DISTANCE_LOGITS).output
    return keras.Model(network.input, {**network.output, DISTANCE_LOGITS: logits}, name=network.name)


@contextmanager
def _dtype_policy(precision: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def count_parameters(network: keras.Model) -> dict[str, int]:
    """Parameters in all, and those of backbone and neck together.

    Returns:
        `parameters` and `backbone_parameters`.
    """
    body = sum(layer.count_params() for layer in network.layers if not layer.name.startswith("head_"))
    return {"parameters": network.count_params(), "backbone_parameters": body}


def count_macs(network: keras.Model) -> int:
    """Multiply-accumulates of the convolutions for one image; a layer counts once for every level it runs on.

    They are those of the network; `layers.convolve_groups` multiplies zeros as well.
    """
    total = 0
    for layer in network.layers:
        # every kernel entry is used once per location: [h, w, in, out], in groups [h, w, in / groups, out], depthwise
        # [h, w, in, 1]
        kernels = [weight for weight in layer.weights if weight.path.endswith("kernel")]
        for node in layer._inbound_nodes if kernels else ():
            _, height, width, _ = node.output_tensors[0].shape
            total += height * width * sum(math.prod(kernel.shape) for kernel in kernels)
    return total
