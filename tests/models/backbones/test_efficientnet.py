import math

import cv2
import keras
import numpy as np
import pytest
from keras import ops

from fcoslite.config.settings import ModelSettings
from fcoslite.models.backbones.efficientnet import efficientnet_lite0
from fcoslite.models.detector import build_detector, count_macs, count_parameters
from fcoslite.models.layers import NormedConv
from fcoslite.models.weights import load_backbone
from fcoslite.runs.find_weights import find_backbone


def _backbone(size: int, norms: str = "frozen") -> keras.Model:
    images = keras.Input((size, size, 3))
    features = efficientnet_lite0(images, norms)
    return keras.Model(images, {str(stride): value for stride, value in features.items()})


@pytest.fixture(scope="module")
def backbone():
    """At the size of its publication."""
    return _backbone(224)


def test_features(backbone):
    shapes = {int(stride): value.shape[1:] for stride, value in backbone.output.items()}
    assert shapes == {8: (28, 28, 40), 16: (14, 14, 112), 32: (7, 7, 320)}


def test_it_is_the_published_network(backbone):
    # 4,652,008 parameters, of which the classifier has a 1x1 convolution to 1,280 channels with its normalisation,
    # and a dense layer to 1,000 classes
    ours = sum(math.prod(weight.shape) for weight in backbone.trainable_weights)
    assert ours + 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000 == 4_652_008
    # 0.39 billion multiply-accumulates at 224 pixels: EfficientNet-B0's (table 2 of the paper), since
    # squeeze-and-excitation works on single pixels
    assert round((count_macs(backbone) + 7 * 7 * 320 * 1280 + 1280 * 1000) / 1e9, 2) == 0.39


def test_the_lite0_detector():
    detector = build_detector(ModelSettings(preset="lite0", image_size=320))
    counts = count_parameters(detector.network)
    assert counts["parameters"] == detector.network.count_params() == 3_250_730
    assert 0.9e9 < count_macs(detector.network) < 1.5e9
    locations = 40**2 + 20**2 + 10**2 + 5**2
    shapes = {name: value.shape for name, value in detector.network.output.items()}
    assert shapes == {
        "class_logits": (None, locations, 1),
        "distances": (None, locations, 4),
        "quality_logits": (None, locations, 1),
    }


def test_frozen_norms_are_those_of_the_backbone_alone():
    for norms in ("frozen", "running"):
        detector = build_detector(ModelSettings(preset="lite0", image_size=64, backbone_norms=norms), seed=0)
        layers = [layer for layer in detector.network.layers if isinstance(layer, NormedConv)]
        before = {layer.name: np.asarray(layer.mean) for layer in layers}
        detector.network(np.random.default_rng(0).random((2, 64, 64, 3), np.float32), training=True)
        moved = {layer.name for layer in layers if (np.asarray(layer.mean) != before[layer.name]).any()}
        everywhere = {layer.name for layer in layers}
        frozen = {name for name in everywhere if name.startswith("backbone_")}
        assert len(frozen) == 48
        assert moved == (everywhere - frozen if norms == "frozen" else everywhere)


def test_every_level_of_the_head_gathers_its_own_statistics():
    detector = build_detector(ModelSettings(preset="lite0", image_size=128), seed=0)
    detector.network(np.random.default_rng(0).random((2, 128, 128, 3), np.float32), training=True)
    for name in ("head_class_conv0", "head_box_conv2"):
        means = np.asarray(detector.network.get_layer(name).mean)
        assert means.shape == (4, 128)
        assert all(np.abs(row).max() > 0 for row in means)
        assert len(np.unique(means, axis=0)) == 4


# mean and deviation of the features of an embedded photograph, by stride; tools/convert_efficientnet_lite0.py has
# compared the same weights with the original network
SEEN = {8: (-0.055, 7.748), 16: (0.445, 7.063), 32: (-0.196, 3.009)}


def test_the_packaged_weights_see_what_they_saw(demo_data):
    size = 128
    detector = build_detector(ModelSettings(preset="lite0", image_size=size))
    load_backbone(detector, find_backbone("efficientnet-lite0-imagenet"))
    backbone = _backbone(size)
    values = {weight.path: weight for weight in detector.network.weights}
    for weight in backbone.weights:
        weight.assign(values[weight.path])
    bgr = cv2.imread(str(demo_data / "images" / "000000000030.jpg"))
    image = cv2.resize(bgr, (size, size))[..., ::-1].astype(np.float32) / 255.0
    features = backbone(image[None], training=False)
    for stride, (mean, deviation) in SEEN.items():
        value = ops.convert_to_numpy(features[str(stride)])
        assert value.mean() == pytest.approx(mean, abs=0.02), stride
        assert value.std() == pytest.approx(deviation, rel=0.005), stride
    # another picture's channels, or another scale of pixels, is another thing
    swapped = ops.convert_to_numpy(backbone(image[None, ..., ::-1], training=False)["32"])
    assert swapped.std() != pytest.approx(SEEN[32][1], rel=0.005)
