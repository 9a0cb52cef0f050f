import math

import keras
import numpy as np
import pytest
from keras import ops

from fcoslite.config.settings import ModelSettings
from fcoslite.errors import WeightsError
from fcoslite.models.backbones.resnext import resnext50
from fcoslite.models.detector import build_detector, count_macs, count_parameters
from fcoslite.models.layers import NormedConv
from fcoslite.models.weights import load_backbone, load_detector, save_weights

IN_R50S_PLACE = {"preset": "r50", "backbone": "resnext50", "image_size": 128}
SLIM = {**IN_R50S_PLACE, "image_size": 64, "strides": (8, 16, 32), "head_depth": 0, "neck_channels": 16}


@pytest.fixture(scope="module")
def backbone():
    """At the size of its publication."""
    images = keras.Input((224, 224, 3))
    return keras.Model(images, {str(stride): value for stride, value in resnext50(images, "running").items()})


@pytest.fixture(scope="module")
def slim():
    return build_detector(ModelSettings.model_validate(SLIM), seed=0)


def test_features(backbone):
    shapes = {int(stride): value.shape[1:] for stride, value in backbone.output.items()}
    assert shapes == {8: (28, 28, 512), 16: (14, 14, 1024), 32: (7, 7, 2048)}


def test_it_is_the_published_network(backbone):
    # torchvision's resnext50_32x4d: 25,028,904 parameters, statistics not counted, and 4.23 billion
    # multiply-accumulates at 224 pixels, both with the classifier of 1,000 classes
    ours = sum(math.prod(weight.shape) for weight in backbone.trainable_weights)
    assert ours + 2048 * 1000 + 1000 == 25_028_904
    assert round((count_macs(backbone) + 2048 * 1000) / 1e9, 2) == 4.23
    statistics = sum(math.prod(weight.shape) for weight in backbone.non_trainable_weights)
    assert statistics == 68_224
    assert backbone.count_params() == ours + statistics


def test_macs_by_hand(backbone):
    macs = 112**2 * 49 * 3 * 64
    incoming = 64
    for width, side, blocks in ((128, 56, 3), (256, 28, 4), (512, 14, 6), (1024, 7, 3)):
        for block in range(blocks):
            before = 2 * side if block == 0 and width > 128 else side  # the stride is in the 3x3
            macs += before**2 * incoming * width + side**2 * (9 * width * width // 32 + width * 2 * width)
            macs += side**2 * incoming * 2 * width if block == 0 else 0
            incoming = 2 * width
    assert count_macs(backbone) == macs


def test_pixels_are_normalised_as_torchvisions_weights_expect(backbone):
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    values = backbone.get_layer("backbone_scale")(np.stack([mean, mean + deviation, mean * 0])[:, None, None])
    expected = np.stack([mean * 0, mean * 0 + 1, -mean / deviation])
    np.testing.assert_allclose(ops.convert_to_numpy(values)[:, 0, 0], expected, atol=1e-5)


def test_every_convolution_is_as_torchvisions(backbone):
    layers = [layer for layer in backbone.layers if isinstance(layer, NormedConv)]
    assert len(layers) == 1 + 16 * 3 + 4
    assert {layer._epsilon for layer in layers} == {1e-5}
    strided = {layer.name: layer._pads for layer in layers if layer._stride > 1}
    downs = [f"backbone_stage{stage}_block0" for stage in (2, 3, 4)]
    assert strided == {
        "backbone_stem": (3, 3),
        **{f"{at}_conv2": (1, 1) for at in downs},
        **{f"{at}_shortcut": (0, 0) for at in downs},
    }


def test_in_the_place_of_r50s():
    network = build_detector(ModelSettings.model_validate(IN_R50S_PLACE)).network
    theirs = build_detector(ModelSettings(preset="r50", image_size=128)).network
    assert {k: v.shape for k, v in network.output.items()} == {k: v.shape for k, v in theirs.output.items()}
    ours, resnets = count_parameters(network), count_parameters(theirs)
    for key in ("parameters", "backbone_parameters"):
        assert ours[key] - resnets[key] == 22_979_904 + 68_224 - 23_587_712
    assert ours["parameters"] == network.count_params() == 31_661_338


@pytest.mark.parametrize("norms", [None, "running", "frozen"])
def test_norms(norms):
    detector = build_detector(ModelSettings.model_validate({**SLIM, "backbone_norms": norms}), seed=0)
    layers = [layer for layer in detector.network.layers if isinstance(layer, NormedConv)]
    before = [np.asarray(layer.mean) for layer in layers]
    detector.network(np.random.default_rng(0).random((2, 64, 64, 3), np.float32), training=True)
    moved = [(np.asarray(layer.mean) != old).any() for layer, old in zip(layers, before, strict=True)]
    assert moved == [norms != "frozen"] * 53


@pytest.mark.parametrize("norms", ["running", "frozen"])
def test_half_precision(norms):
    settings = ModelSettings.model_validate({**SLIM, "backbone_norms": norms})
    network = build_detector(settings, precision="mixed_float16", seed=0).network
    assert network.get_layer("backbone_stage1_block0_conv2").compute_dtype == "float16"
    values = network(np.random.default_rng(0).random((2, 64, 64, 3), np.float32), training=True)
    assert all(np.isfinite(ops.convert_to_numpy(value)).all() for value in values.values())


def test_a_detectors_file_starts_anothers_backbone(slim, tmp_path):
    path = tmp_path / "weights.npz"
    save_weights(slim, path)
    again, _ = load_detector(path)
    values = {weight.path: np.asarray(weight) for weight in slim.network.weights}
    for weight in again.network.weights:
        np.testing.assert_array_equal(np.asarray(weight), values[weight.path])
    # of other classes and widths, under another neck and head
    settings = {"preset": "lite0", "backbone": "resnext50", "image_size": 64, "classes": ["dog", "cat"]}
    other = build_detector(ModelSettings.model_validate(settings), seed=1)
    load_backbone(other, path)
    loaded = [weight for weight in other.network.weights if weight.path.startswith("backbone_")]
    assert len(loaded) == 53 * 5
    for weight in loaded:
        np.testing.assert_array_equal(np.asarray(weight), values[weight.path])
    with pytest.raises(WeightsError, match="does not fit the efficientnet_lite0 backbone"):
        load_backbone(build_detector(ModelSettings(preset="lite0", image_size=64)), path)


def test_a_file_of_another_backbone_is_refused(slim, tmp_path):
    save_weights(build_detector(ModelSettings(preset="lite0", image_size=64)), tmp_path / "lite0.npz")
    with pytest.raises(WeightsError, match="does not fit the resnext50 backbone"):
        load_backbone(slim, tmp_path / "lite0.npz")
    (tmp_path / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\n" * 10)
    with pytest.raises(WeightsError, match=r"keras\.h5"):
        load_backbone(slim, tmp_path / "keras.h5")
