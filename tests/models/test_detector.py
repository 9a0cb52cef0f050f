import math

import keras
import numpy as np
import pytest
from keras import ops

from fcoslite.config.settings import ModelSettings
from fcoslite.errors import ConfigError, WeightsError
from fcoslite.models.detector import build_detector, count_macs, count_parameters, loss_network
from fcoslite.models.head import ExpectedDistance
from fcoslite.models.layers import NormedConv
from fcoslite.models.presets import PRESETS, SIZE_PIXELS, SIZES, Size


@pytest.fixture(scope="module")
def lite():
    return build_detector(ModelSettings(), seed=0)


def test_lite_has_the_missions_parameters(lite):
    counts = count_parameters(lite.network)
    assert counts == {"parameters": 3_255_082, "backbone_parameters": 2_885_024}
    towers = [layer for layer in lite.network.layers if layer.name.startswith("head_class_")]
    assert sum(layer.count_params() for layer in towers) == 184_832 + 65


@pytest.mark.parametrize("preset", PRESETS)
def test_the_sizes_of_the_presets_are_known(preset):
    network = build_detector(ModelSettings(preset=preset, image_size=SIZE_PIXELS)).network
    assert Size(**count_parameters(network), gmacs=round(count_macs(network) / 1e9, 3)) == SIZES[preset]


def test_lite_has_the_missions_levels(lite):
    locations = 128**2 + 64**2 + 32**2 + 16**2
    outputs = lite.network.output
    assert outputs["class_logits"].shape == (None, locations, 1)
    assert outputs["distances"].shape == (None, locations, 4)
    assert outputs["quality_logits"].shape == (None, locations, 1)
    assert {value.dtype for value in outputs.values()} == {"float32"}
    assert lite.architecture.strides == (4, 8, 16, 32)
    assert lite.class_names == ("person",)


def test_macs_by_hand(lite):
    # a 3x3 convolution of the class tower runs on all four levels: 64 -> 64 but for the first, 128 -> 64
    locations = 128**2 + 64**2 + 32**2 + 16**2
    head = locations * (2 * (9 * 128 * 64 + 3 * 9 * 64 * 64) + 64 * (1 + 4 + 1))
    stem = 256**2 * 5 * 5 * 3 * 32
    total = count_macs(lite.network)
    head_layers = keras.Model(lite.network.inputs, lite.network.get_layer("neck_s4_smooth_lrelu").output)
    assert count_macs(head_layers) > stem
    assert head < total < 4 * head
    assert round(total / 1e9, 3) == 16.022


def test_starting_values(lite):
    class_bias = lite.network.get_layer("head_class_logits").bias
    np.testing.assert_allclose(ops.convert_to_numpy(ops.sigmoid(class_bias)), 0.05, rtol=1e-5)
    distance_bias = lite.network.get_layer("head_distances").bias
    np.testing.assert_allclose(ops.convert_to_numpy(distance_bias), -np.log(100), rtol=1e-6)
    assert ops.convert_to_numpy(lite.network.get_layer("head_s4_exp").scale) == pytest.approx(0.1)
    norms = [layer for layer in lite.network.layers if isinstance(layer, keras.layers.GroupNormalization)]
    assert {layer.epsilon for layer in norms} == {1e-3}


def test_a_distance_is_the_mean_of_its_distribution():
    settings = ModelSettings(preset="lite0", image_size=64, head_depth=0, distance_bins=5, classes=("person",))
    detector = build_detector(settings, seed=0)
    network = loss_network(detector)
    assert [v.path for v in network.variables] == [v.path for v in detector.network.variables]
    image = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    outputs = {name: ops.convert_to_numpy(value) for name, value in network(image).items()}
    assert set(outputs) == {*detector.network.output, "distance_logits"}
    logits = outputs["distance_logits"].reshape(2, -1, 4, 5)
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(outputs["distances"], shares @ np.arange(5), rtol=1e-5)
    np.testing.assert_array_equal(outputs["distances"], ops.convert_to_numpy(detector.network(image)["distances"]))


def test_distributions_start_where_exp_does():
    of_17 = {"preset": "lite0", "image_size": 64, "head_depth": 0, "distance_bins": 17}
    bias = build_detector(ModelSettings.model_validate(of_17)).network.get_layer("head_distances").bias
    start = ops.convert_to_numpy(ExpectedDistance(17, "start")(ops.reshape(bias, (1, 1, -1))))
    np.testing.assert_allclose(start, math.e, atol=0.3)


def test_r50_is_standard_fcos():
    detector = build_detector(ModelSettings(preset="r50", image_size=128))
    assert len(detector.class_names) == 80
    assert detector.architecture.strides == (8, 16, 32, 64, 128)
    assert detector.architecture.assignment == "ranges"
    assert detector.network.output["class_logits"].shape == (None, 16**2 + 8**2 + 4**2 + 2**2 + 1, 80)
    # ResNet-50 without its top has 23,587,712 parameters (keras.applications)
    body = count_parameters(detector.network)["backbone_parameters"]
    laterals = sum(channels * 256 + 256 for channels in (512, 1024, 2048))
    assert body == 23_587_712 + laterals + 5 * (9 * 256 * 256 + 256)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 96},
        {"classes": ("person", "dog", "cat")},
        {"strides": (8, 16, 32)},
        {"strides": (4, 8, 16, 32, 64)},
        {"head_channels": 32, "head_depth": 2, "neck_channels": 64},
        {"assignment": "ranges"},
        {"preset": "r50", "backbone": "bottleneck", "image_size": 128},
        {"backbone": "resnet50", "strides": (8, 16, 32)},
        {"preset": "r50", "backbone": "resnext50", "image_size": 128},
        {"preset": "lite0", "backbone": "resnext50", "strides": (8, 16, 32)},
        {"preset": "lite0"},
        {"preset": "lite0", "strides": (8, 16, 32), "head_channels": 40, "head_depth": 2, "neck_channels": 40},
        {"preset": "lite0", "backbone": "bottleneck", "strides": (4, 8, 16, 32), "classes": ("person", "dog")},
        {"backbone": "efficientnet_lite0", "strides": (8, 16, 32), "backbone_norms": "running"},
        {"preset": "lite0", "assignment": "task_aligned", "quality": "centerness"},
        {"preset": "lite0", "distance_bins": 17},
        {"distance_bins": 5, "quality": "none"},
    ],
)
def test_every_part_is_a_setting(changes):
    settings = ModelSettings.model_validate({"image_size": 64, **changes})
    detector = build_detector(settings, seed=0)
    size, strides = settings.image_size, detector.architecture.strides
    outputs = detector.network(np.random.default_rng(0).random((1, size, size, 3), np.float32))
    locations = sum((size // stride) ** 2 for stride in strides)
    assert outputs["class_logits"].shape == (1, locations, len(detector.class_names))
    if detector.architecture.assignment in ("area", "ranges"):
        assert len(detector.architecture.level_limits) == len(strides) - 1
    assert all(np.isfinite(ops.convert_to_numpy(value)).all() for value in outputs.values())
    assert (ops.convert_to_numpy(outputs["distances"]) > 0).all()


@pytest.mark.parametrize("preset", ["lite", "lite0"])
def test_without_a_quality_there_is_no_quality_output(preset):
    small = {"preset": preset, "image_size": 64, "head_depth": 1}
    with_quality = build_detector(ModelSettings.model_validate(small)).network
    without = build_detector(ModelSettings.model_validate({**small, "quality": "none"})).network
    assert set(without.output) == {"class_logits", "distances"}
    assert set(with_quality.output) == {"class_logits", "distances", "quality_logits"}
    channels = with_quality.get_layer("head_quality_logits").kernel.shape[2]
    assert with_quality.count_params() - without.count_params() == channels + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 100}, "no multiple of the largest stride 32"),
        ({"preset": "r50", "image_size": 320}, "no multiple of the largest stride 128"),
        ({"strides": (4, 16)}, "do not make a pyramid"),
        ({"strides": (4, 8), "backbone": "resnet50"}, "no map of stride 4"),
        ({"preset": "lite0", "strides": (4, 8)}, "no map of stride 4"),
        ({"backbone": "resnext50"}, "no map of stride 4"),
        ({"preset": "lite0", "image_size": 96}, "no multiple of the largest stride 64"),
        ({"neck_channels": 48}, "multiple of 32"),
        ({"head_channels": 40}, "multiple of 16"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        build_detector(ModelSettings.model_validate(changes))


@pytest.mark.parametrize("preset", PRESETS)
def test_free_sides_are_no_other_network(preset):
    """On a square it says the same; elsewhere what the square says of the same picture, wherever edges are far."""
    settings = ModelSettings(preset=preset, image_size=128)
    square, free = (build_detector(settings, seed=0, free_sides=free) for free in (False, True))
    assert (square.step, free.step) == (128, 32)
    images = np.random.default_rng(0).random((1, 128, 128, 3), np.float32)
    expected, given = square.network(images), free.network(images)
    for name, values in expected.items():
        np.testing.assert_allclose(given[name], values, atol=1e-5)
    wide = free.network(images[:, :64, :96])
    rows = sum(-(-64 // stride) * -(-96 // stride) for stride in free.architecture.strides)
    assert wide["distances"].shape == (1, rows, 4)


def test_what_lies_below_an_odd_map_changes_nothing_above_it():
    """The map of stride 64 of an image of 96 rows is that of 128 rows of which the last 32 are nothing at all."""
    free = build_detector(ModelSettings(preset="lite0", image_size=128), seed=0, free_sides=True).network
    inside = keras.Model(
        free.inputs, [free.get_layer("neck_s32_smooth").output, free.get_layer("neck_s64_extra").output]
    )
    below, coarse = inside([np.random.default_rng(0).random((1, 96, 160, 3), np.float32)])
    extra = free.get_layer("neck_s64_extra")
    padded = ops.pad(below, ((0, 0), (0, 1), (0, 1), (0, 0)))
    np.testing.assert_allclose(coarse, extra(padded), atol=1e-6)
    assert coarse.shape[1:3] == (2, 3)


def test_macs_of_every_kind_of_convolution():
    images = keras.Input((8, 8, 4))
    x = NormedConv(6, 3, name="dense")(images)  # 64 places · 9 · 4 · 6
    x = NormedConv(None, 5, stride=2, name="depthwise")(x)  # 16 places · 25 · 6
    separable = NormedConv(10, 3, separable=True, levels=2, name="separable")
    small = keras.layers.MaxPooling2D(2)(x)
    outputs = [separable(x, level=0), separable(small, level=1)]  # (16 + 4) places · (9 · 6 + 6 · 10)
    assert count_macs(keras.Model(images, outputs)) == 64 * 9 * 4 * 6 + 16 * 25 * 6 + 20 * (9 * 6 + 6 * 10)


def test_macs_of_groups():
    images = keras.Input((8, 8, 4))
    x = NormedConv(6, 3, stride=2, groups=2, padding="centred", name="ours")(images)  # 16 places · 2 groups · 9 · 2 · 3
    x = keras.layers.Conv2D(9, 5, groups=3, padding="same", use_bias=False)(x)  # 16 places · 3 groups · 25 · 2 · 3
    assert count_macs(keras.Model(images, x)) == 16 * 2 * 9 * 2 * 3 + 16 * 3 * 25 * 2 * 3


@pytest.mark.parametrize("norms", ["frozen", "running"])
def test_half_precision_of_a_training_step(norms):
    settings = ModelSettings(preset="lite0", image_size=64, backbone_norms=norms)
    half = build_detector(settings, precision="mixed_float16", seed=0)
    images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    assert half.network.get_layer("backbone_stem").compute_dtype == "float16"
    for training in (True, False):
        for name, value in half.network(images, training=training).items():
            assert keras.backend.standardize_dtype(value.dtype) == "float32"
            assert np.isfinite(ops.convert_to_numpy(value)).all(), name


def test_half_precision_keeps_outputs_and_exp_in_float32():
    detector = build_detector(ModelSettings(image_size=64), precision="mixed_float16", seed=0)
    layer = detector.network.get_layer("backbone_c2a_conv1")
    assert layer.compute_dtype == "float16"
    assert {value.dtype for value in detector.network.output.values()} == {"float32"}
    exp = detector.network.get_layer("head_s4_exp")
    huge = ops.convert_to_numpy(exp(np.full((1, 1, 1, 4), 6e4, np.float16)))
    assert np.isfinite(huge).all()


def test_backbone_weights_that_are_not_there():
    with pytest.raises(WeightsError, match="no backbone weights"):
        build_detector(ModelSettings(backbone="resnet50", strides=(8, 16, 32), backbone_weights="nowhere.h5"))
