import numpy as np
from keras import ops

from fcoslite.config import AugmentSettings
from fcoslite.data.augment import Augment, normalise

OFF = {"flip_probability": 0, "brightness_probability": 0, "noise_probability": 0}


def _augment(seed=0, **settings):
    return Augment(AugmentSettings.model_validate({**OFF, **settings}), seed)


def _batch(count=8, size=32):
    """Black images with a white rectangle, and the box around it."""
    rng = np.random.default_rng(0)
    images = np.zeros((count, size, size, 3), np.uint8)
    boxes = np.zeros((count, 2, 5), np.float32)
    for row in range(count):
        x1, y1 = rng.integers(0, size // 2, 2)
        x2, y2 = x1 + rng.integers(2, size // 2), y1 + rng.integers(2, size // 2)
        images[row, y1:y2, x1:x2] = 255
        boxes[row, 0] = [1, x1, y1, x2, y2]
    return normalise(images), boxes


def test_normalise_maps_bytes_to_the_unit_interval():
    values = ops.convert_to_numpy(normalise(np.array([0, 114, 255], np.uint8)))
    np.testing.assert_allclose(values, [0, 114 / 255, 1], atol=1e-6)


def test_boxes_move_with_the_pixels():
    images, boxes = _batch(32)
    moved, moved_boxes = (ops.convert_to_numpy(x) for x in _augment(flip_probability=0.5)(images, boxes))
    flipped = 0
    for image, box, before in zip(moved, moved_boxes, boxes, strict=True):
        rows, columns = np.nonzero(image[..., 0])
        around = [1, columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box[0], around)
        flipped += not np.array_equal(box[0], before[0])
    assert 5 < flipped < 27


def test_brightness_shifts_whole_images_within_bounds():
    images = np.full((64, 4, 4, 3), 0.5, np.float32)
    changed, _ = _augment(brightness=0.1, brightness_probability=0.5)(images, np.zeros((64, 1, 5), np.float32))
    shifts = ops.convert_to_numpy(changed) - 0.5
    assert np.ptp(shifts, axis=(1, 2, 3)).max() < 1e-6
    assert abs(shifts).max() <= 0.1 + 1e-6
    assert 0.3 < (abs(shifts[:, 0, 0, 0]) > 1e-6).mean() < 0.7


def test_noise_has_its_deviation_and_pixels_stay_in_range():
    images = np.full((64, 16, 16, 3), 0.5, np.float32)
    boxes = np.zeros((64, 1, 5), np.float32)
    noise = ops.convert_to_numpy(_augment(noise=0.01, noise_probability=1)(images, boxes)[0]) - 0.5
    assert 0.009 < noise.std() < 0.011
    white = ops.convert_to_numpy(_augment(noise=0.5, noise_probability=1, brightness=0.1)(images * 2, boxes)[0])
    assert white.min() >= 0
    assert white.max() <= 1


def test_the_seed_decides_and_every_call_is_another_draw():
    images, boxes = _batch(16)
    layer = _augment(seed=3, flip_probability=0.5)
    first, second = layer(images, boxes)[1], layer(images, boxes)[1]
    again = _augment(seed=3, flip_probability=0.5)(images, boxes)[1]
    np.testing.assert_array_equal(ops.convert_to_numpy(first), ops.convert_to_numpy(again))
    assert (ops.convert_to_numpy(first) != ops.convert_to_numpy(second)).any()
