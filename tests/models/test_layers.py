"""GroupNorm and NormedConv: against Keras' own layers with the same numbers."""

import keras
import numpy as np
import pytest
from keras import ops

from fcoslite.models.layers import GroupNorm, NormedConv, convolve_groups

KINDS = {
    "dense": {"filters": 6, "size": 3},
    "strided": {"filters": 6, "size": 5, "stride": 2},
    "pointwise": {"filters": 6, "size": 1},
    "depthwise": {"filters": None, "size": 3, "stride": 2},
    "separable": {"filters": 6, "size": 3, "stride": 2, "separable": True},
    "grouped": {"filters": 6, "size": 3, "groups": 2},
    "centred": {"filters": 6, "size": 5, "stride": 2, "padding": "centred"},
    "grouped and centred": {"filters": 6, "size": 3, "stride": 2, "groups": 2, "padding": "centred"},
    "separable and centred": {"filters": 6, "size": 3, "stride": 2, "separable": True, "padding": "centred"},
    "as even": {"filters": 6, "size": 3, "stride": 2, "padding": "as_even"},  # the maps here are even
    "as even, wide": {"filters": 6, "size": 5, "stride": 2, "padding": "as_even"},
    "epsilon": {"filters": 6, "size": 3, "epsilon": 0.1},
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def _images(seed=0, deviation=1.0, size=12):
    rng = np.random.default_rng(seed)
    return rng.normal(0.3, deviation, (3, size, size, 4)).astype(np.float32)


class Reference:
    """A layer's numbers in Keras' own layers."""

    def __init__(self, kind, layer):
        size, stride = kind["size"], kind.get("stride", 1)
        self.margin = size // 2 if kind.get("padding") == "centred" else 0
        pad = "valid" if self.margin else "same"
        if kind.get("separable"):
            self.convolutions = [
                _keras_conv(None, size, stride, layer.depthwise, pad),
                _keras_conv(kind["filters"], 1, 1, layer.kernel),
            ]
        else:
            self.convolutions = [_keras_conv(kind["filters"], size, stride, layer.kernel, pad, kind.get("groups", 1))]
        self.norms = [_keras_norm(layer, level, kind.get("epsilon", 1e-3)) for level in range(layer.gamma.shape[0])]

    def __call__(self, x, training=False, level=0):
        x = keras.layers.ZeroPadding2D(self.margin)(x)
        for convolution in self.convolutions:
            x = convolution(x)
        return self.norms[level](x, training=training)


def _pair(kind, **options):
    """The layer with random numbers, and its reference."""
    layer = NormedConv(**kind, **options)
    layer(_images())
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        if "kernel" not in weight.path:
            low, high = (0.5, 2.0) if weight.path.endswith(("gamma", "variance")) else (-1.0, 1.0)
            weight.assign(rng.uniform(low, high, weight.shape))
    return layer, Reference(kind, layer)


def _keras_conv(filters, size, stride, kernel, padding="same", groups=1):
    if filters is None:
        conv = keras.layers.DepthwiseConv2D(size, strides=stride, padding=padding, use_bias=False)
    else:
        conv = keras.layers.Conv2D(filters, size, strides=stride, padding=padding, use_bias=False, groups=groups)
    conv.build((None, 12, 12, kernel.shape[2] * groups))
    conv.set_weights([np.asarray(kernel)])
    return conv


def _keras_norm(layer, level, epsilon):
    norm = keras.layers.BatchNormalization(epsilon=epsilon, momentum=0.99)
    norm.build((None, 6, 6, layer.gamma.shape[1]))
    norm.set_weights([np.asarray(part[level]) for part in (layer.gamma, layer.beta, layer.mean, layer.variance)])
    return norm


def _close(one, other, tolerance=1e-5):
    np.testing.assert_allclose(ops.convert_to_numpy(one), ops.convert_to_numpy(other), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("norms", ["running", "frozen"])
def test_inference(kind, norms):
    layer, reference = _pair(kind, norms=norms)
    _close(layer(_images(2)), reference(_images(2)))


def test_activation():
    layer, reference = _pair(KINDS["dense"], activation="relu6")
    _close(layer(_images(2)), ops.relu6(reference(_images(2))))
    _close(layer(_images(2), training=True), ops.relu6(reference(_images(2), training=True)))


def test_frozen_statistics_serve_in_training_and_stay(kind):
    layer, reference = _pair(kind, norms="frozen")
    before = [np.asarray(layer.mean), np.asarray(layer.variance)]
    _close(layer(_images(2), training=True), reference(_images(2)))
    np.testing.assert_array_equal([np.asarray(layer.mean), np.asarray(layer.variance)], before)


def test_running_statistics_are_the_batchs_in_training_and_averages_after(kind):
    layer, reference = _pair(kind, norms="running")
    for seed in range(4):
        _close(layer(_images(seed), training=True), reference(_images(seed), training=True))
    _close(layer.mean[0], reference.norms[0].moving_mean)
    _close(layer.variance[0], reference.norms[0].moving_variance)
    _close(layer(_images(9)), reference(_images(9)))


@pytest.mark.parametrize("norms", ["running", "frozen"])
def test_every_level_has_its_own_statistics_scale_and_shift(norms):
    layer, reference = _pair(KINDS["separable"], levels=3, norms=norms)
    before = np.asarray(layer.mean)
    for level in (2, 0, 2):
        images = _images(level, deviation=1.0 + level, size=12 // (level + 1))
        training = norms == "running"
        _close(layer(images, training=True, level=level), reference(images, training=training, level=level))
    np.testing.assert_array_equal(np.asarray(layer.mean)[1], before[1])
    for level in range(3):
        _close(layer.mean[level], reference.norms[level].moving_mean)
        _close(layer.variance[level], reference.norms[level].moving_variance)
        _close(layer(_images(9), level=level), reference(_images(9), level=level))


@pytest.mark.parametrize("norms", ["running", "frozen"])
def test_gradients_are_those_of_a_convolution_and_a_normalisation(kind, norms):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients with TensorFlow's tape")
    import tensorflow as tf

    layer, reference = _pair(kind, norms=norms)
    images = tf.constant(_images(2))
    wish = np.random.default_rng(3).normal(size=layer(images).shape).astype(np.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        ours = tf.reduce_sum(layer(images, training=True) * wish)
        theirs = tf.reduce_sum(reference(images, training=norms == "running") * wish)
    ours_of = {weight.path.rpartition("/")[2]: weight.value for weight in layer.trainable_variables}
    theirs_of = {name: getattr(reference.norms[0], name).value for name in ("gamma", "beta")}
    names = ["depthwise_kernel", "kernel"][-len(reference.convolutions) :]
    theirs_of |= {name: one.kernel.value for name, one in zip(names, reference.convolutions, strict=True)}
    assert ours_of.keys() == theirs_of.keys()
    for name in ours_of:
        expected = np.squeeze(tape.gradient(theirs, theirs_of[name]))
        np.testing.assert_allclose(np.squeeze(tape.gradient(ours, ours_of[name])), expected, atol=2e-3, rtol=1e-3)
        assert np.abs(expected).max() > 0.01, name
    expected = tape.gradient(theirs, images)
    np.testing.assert_allclose(tape.gradient(ours, images), expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("norms", ["running", "frozen"])
@pytest.mark.parametrize("training", [True, False])
def test_half_precision(kind, norms, training):
    whole, _ = _pair(kind, norms=norms)
    half = _in_half(kind, norms)
    half.build((None, 12, 12, 4))
    for one, other in zip(half.weights, whole.weights, strict=True):
        one.assign(other)
        assert one.dtype == "float32"
    images = _images(2).astype(np.float16)
    expected = whole(images.astype(np.float32), training=training)
    values = half(images, training=training)
    assert keras.backend.standardize_dtype(values.dtype) == "float16"
    _close(ops.cast(values, "float32"), expected, 3e-2)
    # statistics are gathered in float32: a hundredth of a batch's is below what float16 can add
    _close(half.mean, whole.mean, 1e-4)
    _close(half.variance, whole.variance, 1e-4)


def test_shapes_are_told_as_they_are(kind):
    layer = NormedConv(**kind)
    assert layer.compute_output_shape((3, 12, 12, 4)) == tuple(layer(_images()).shape)


# channels in, filters, groups: narrow groups by the block, in several blocks, as wide as a block, and wider
GROUPS = [(12, 24, 6), (256, 256, 32), (256, 128, 2), (300, 6, 2), (12, 6, 3), (20, 5, 5)]


@pytest.mark.parametrize(("incoming", "filters", "groups"), GROUPS)
@pytest.mark.parametrize(("stride", "padding"), [(1, "same"), (2, "same"), (2, "valid")])
def test_groups_do_not_see_each_other(incoming, filters, groups, stride, padding):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 7, 6, incoming)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, incoming // groups, filters)).astype(np.float32)
    values = convolve_groups(images, kernel, groups, stride, padding)
    parts = zip(np.split(images, groups, axis=-1), np.split(kernel, groups, axis=-1), strict=True)
    expected = ops.concatenate([ops.conv(*part, strides=stride, padding=padding) for part in parts], axis=-1)
    _close(values, expected, 1e-4)


def _in_half(kind, norms):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return NormedConv(**kind, norms=norms)
    finally:
        keras.config.set_dtype_policy("float32")


def test_variances_below_what_float16_holds_survive():
    layer = _in_half(KINDS["dense"], "running")
    layer.build((None, 12, 12, 4))
    layer.variance.assign(np.full((1, 6), 1e-9))
    layer.mean.assign(np.full((1, 6), 1e-9))
    before = [np.asarray(layer.mean), np.asarray(layer.variance)]
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    layer(_images(2).astype(np.float16), training=True)
    np.testing.assert_allclose(
        [np.asarray(layer.mean), np.asarray(layer.variance)], np.multiply(before, 0.99), rtol=1e-5
    )


def test_a_batch_that_overflows_leaves_no_trace_in_the_statistics():
    """Loss scaling skips its step, but the forward pass has been made."""
    layer = _in_half(KINDS["dense"], "running")
    layer(_images().astype(np.float16), training=True)
    before = [np.asarray(weight) for weight in layer.weights]
    overflown = _images().astype(np.float16)
    overflown[0, 5, 5] = np.inf
    assert not np.isfinite(np.asarray(layer(overflown, training=True))).all()
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_allclose(np.asarray(weight), value, rtol=1e-6, err_msg=weight.path)
    layer(_images(1).astype(np.float16), training=True)
    assert not np.array_equal(np.asarray(layer.variance), before[-1])


# shape of a feature map and groups; the last lets one position decide
MAPS = [((2, 8, 8, 32), 16), ((3, 5, 7, 12), 4), ((2, 4, 4, 6), 1), ((2, 4, 4, 6), 6), ((2, 1, 1, 8), 2)]


def _feature_map(shape, mean=0.5, deviation=2.0):
    return np.random.default_rng(0).normal(mean, deviation, shape).astype(np.float32)


def _norm_pair(shape, groups):
    rng = np.random.default_rng(1)
    pair = [cls(groups=groups, epsilon=1e-3) for cls in (GroupNorm, keras.layers.GroupNormalization)]
    gamma, beta = rng.uniform(0.5, 2.0, shape[-1]), rng.uniform(-1, 1, shape[-1])
    for layer in pair:
        layer.build(shape)
        layer.set_weights([gamma, beta])
    return pair


@pytest.mark.parametrize(("shape", "groups"), MAPS)
@pytest.mark.parametrize(("mean", "deviation"), [(0.5, 2.0), (-10.0, 1.0), (0.0, 1e-3), (0.0, 0.0)])
def test_the_same_values(shape, groups, mean, deviation):
    images = _feature_map(shape, mean, deviation)
    ours, keras_own = (ops.convert_to_numpy(layer(images)) for layer in _norm_pair(shape, groups))
    np.testing.assert_allclose(ours, keras_own, atol=1e-3 if mean < -1 else 1e-5)


@pytest.mark.parametrize(("shape", "groups"), MAPS)
def test_the_same_gradients(shape, groups):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients with TensorFlow's tape")
    import tensorflow as tf

    images = tf.constant(_feature_map(shape))
    wish = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    gradients = []
    for layer in _norm_pair(shape, groups):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(layer(images) * wish)
        gradients.append(tape.gradient(loss, [images, layer.gamma.value, layer.beta.value]))
    for ours, keras_own in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, keras_own, atol=1e-4, rtol=1e-4)


def test_half_precision_gathers_statistics_in_single_precision():
    shape = (2, 64, 64, 8)  # 16,384 values a group: float16 cannot count that far by ones
    images = _feature_map(shape, mean=3.0).astype(np.float16)
    _, keras_own = _norm_pair(shape, 4)
    half = GroupNorm(groups=4, epsilon=1e-3, dtype="mixed_float16")
    half.build(shape)
    half.set_weights(keras_own.get_weights())
    values = half(images)
    assert keras.backend.standardize_dtype(values.dtype) == "float16"
    np.testing.assert_allclose(ops.convert_to_numpy(values), keras_own(images.astype(np.float32)), atol=1e-2)


def test_a_large_map_is_added_up_exactly():
    # Keras' own layer is off by 1e-3 here: float32 added up one by one
    shape, groups = (1, 256, 256, 8), 4
    images = _feature_map(shape, mean=1.7, deviation=1.0)
    layer = GroupNorm(groups=groups, epsilon=1e-3)
    layer.build(shape)
    exact = images.astype(np.float64).reshape(1, -1, groups, 2)
    mean, variance = exact.mean(axis=(1, 3), keepdims=True), exact.var(axis=(1, 3), keepdims=True)
    expected = ((exact - mean) / np.sqrt(variance + 1e-3)).reshape(shape)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(images)), expected, atol=1e-5)
