import keras
import numpy as np
import pytest
from keras import ops

from fcoslite.fcos.nms import non_max_suppression


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares with tf.image")
@pytest.mark.parametrize("seed", range(8))
def test_nms_equals_tensorflow(seed):
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 80, (300, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 60, (300, 2))], axis=1).astype(np.float32)
    scores = rng.random(300).astype(np.float32)
    classes = rng.integers(0, 3, 300).astype(np.int32)
    expected = []
    for channel in range(3):
        rows = np.flatnonzero(classes == channel)
        kept = tf.image.non_max_suppression(boxes[rows], scores[rows], 100, 0.5, 0.1).numpy()
        expected += rows[kept].tolist()
    expected = sorted(expected, key=lambda row: -scores[row])[:100]
    chosen, count = non_max_suppression(boxes[None], scores[None], classes[None], 0.5, 0.1, 100)
    assert ops.convert_to_numpy(chosen)[0, : int(count[0])].tolist() == expected


def test_nms_of_a_batch_is_nms_of_each_image():
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 50, (3, 40, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 60, (3, 40, 2))], axis=-1).astype(np.float32)
    scores = rng.random((3, 40)).astype(np.float32) * np.array([1.0, 0.2, 0.0], np.float32)[:, None]
    classes = np.zeros((3, 40), np.int32)
    together, counts = non_max_suppression(boxes, scores, classes, 0.3, 0.15, 10)
    for row in range(3):
        alone, count = non_max_suppression(boxes[[row]], scores[[row]], classes[[row]], 0.3, 0.15, 10)
        assert ops.convert_to_numpy(alone)[0].tolist() == ops.convert_to_numpy(together)[row].tolist()
        assert int(count[0]) == int(counts[row])
    assert int(counts[2]) == 0
