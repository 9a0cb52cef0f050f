"""GroupNorm against Keras' own layer with the same numbers."""

import keras
import numpy as np
import pytest
from keras import ops

from fcoslite.models.layers import GroupNorm

# shape of a feature map and groups; the last lets one position decide
MAPS = [((2, 8, 8, 32), 16), ((3, 5, 7, 12), 4), ((2, 4, 4, 6), 1), ((2, 4, 4, 6), 6), ((2, 1, 1, 8), 2)]


def _map(shape, mean=0.5, deviation=2.0):
    return np.random.default_rng(0).normal(mean, deviation, shape).astype(np.float32)


def _pair(shape, groups):
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
    images = _map(shape, mean, deviation)
    ours, keras_own = (ops.convert_to_numpy(layer(images)) for layer in _pair(shape, groups))
    np.testing.assert_allclose(ours, keras_own, atol=1e-3 if mean < -1 else 1e-5)


@pytest.mark.parametrize(("shape", "groups"), MAPS)
def test_the_same_gradients(shape, groups):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients with TensorFlow's tape")
    import tensorflow as tf

    images = tf.constant(_map(shape))
    wish = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    gradients = []
    for layer in _pair(shape, groups):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(layer(images) * wish)
        gradients.append(tape.gradient(loss, [images, layer.gamma.value, layer.beta.value]))
    for ours, keras_own in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, keras_own, atol=1e-4, rtol=1e-4)


def test_half_precision_gathers_statistics_in_single_precision():
    shape = (2, 64, 64, 8)  # 16,384 values a group: float16 cannot count that far by ones
    images = _map(shape, mean=3.0).astype(np.float16)
    _, keras_own = _pair(shape, 4)
    half = GroupNorm(groups=4, epsilon=1e-3, dtype="mixed_float16")
    half.build(shape)
    half.set_weights(keras_own.get_weights())
    values = half(images)
    assert keras.backend.standardize_dtype(values.dtype) == "float16"
    np.testing.assert_allclose(ops.convert_to_numpy(values), keras_own(images.astype(np.float32)), atol=1e-2)


def test_a_large_map_is_added_up_exactly():
    # Keras' own layer is off by 1e-3 here: float32 added up one by one
    shape, groups = (1, 256, 256, 8), 4
    images = _map(shape, mean=1.7, deviation=1.0)
    layer = GroupNorm(groups=groups, epsilon=1e-3)
    layer.build(shape)
    exact = images.astype(np.float64).reshape(1, -1, groups, 2)
    mean, variance = exact.mean(axis=(1, 3), keepdims=True), exact.var(axis=(1, 3), keepdims=True)
    expected = ((exact - mean) / np.sqrt(variance + 1e-3)).reshape(shape)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(images)), expected, atol=1e-5)
