import numpy as np
import pytest
from keras import ops

from fcoslite.geometry.batch_images import resize
from tests.rectangles import PAD, augment, batch, numpy


def test_boxes_zoom_and_flip_with_the_pixels():
    images, boxes = batch(64, size=64, least=8)
    moved, moved_boxes = numpy(augment(size=48, scale=(0.5, 2.5), flip_probability=0.5)(images, boxes))
    assert moved.shape == (64, 48, 48, 3)
    found = 0
    for image, box in zip(moved, moved_boxes, strict=True):
        if box[0, 0] == 0 or box[0, 5]:
            continue
        rows, columns = np.nonzero(image[..., 0] > 0.5)
        around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box[0, 1:5], around, atol=1.01)
        found += 1
    assert 40 < found < 64


def _zooms(boxes):
    """Of every image, from boxes of one pixel each: the largest was not cut."""
    kept = np.where(boxes[..., :1] > 0, boxes[..., 1:5], 0)
    return (kept[..., 2] - kept[..., 0]).max(axis=1)


def test_the_zoom_keeps_to_its_range_and_halves_as_often_as_it_doubles():
    grid = np.stack(np.meshgrid(np.arange(32), np.arange(32)), axis=-1).reshape(-1, 2)
    boxes = np.zeros((128, len(grid), 6), np.float32)
    boxes[..., :5] = np.concatenate([np.ones((len(grid), 1)), grid, grid + 1], axis=-1)
    images = np.ones((128, 32, 32, 3), np.float32)
    zoomed, moved = numpy(augment(size=16, scale=(0.5, 2.0))(images, boxes))
    zooms = _zooms(moved) * 2  # half a pixel a pixel is a zoom of 1: the whole picture at the model's size
    assert 0.5 - 1e-3 < zooms.min() < 0.55
    assert 1.8 < zooms.max() < 2 + 1e-3
    assert abs(np.log2(zooms).mean()) < 0.15
    for image, zoom in zip(zoomed[..., 0], zooms, strict=True):
        seen = image > (1 + PAD) / 2
        if zoom >= 1:
            assert seen.all()  # nothing but picture
        else:
            assert seen.sum() ** 0.5 == pytest.approx(16 * zoom, abs=1)  # the whole picture
    corners = np.array([np.argwhere(image > 0.7).min(axis=0) for image in zoomed[..., 0][zooms < 0.8]])
    assert (corners.std(axis=0) > 0.5).all()  # not always at the same place


def test_a_range_of_one_zoom():
    images, boxes = batch(4, size=64)
    boxes[:, 0] = [1, 0, 0, 64, 64, 0]
    _, moved = numpy(augment(size=32, scale=(0.5, 0.5))(images, boxes))
    np.testing.assert_allclose(moved[:, 0, 3:5] - moved[:, 0, 1:3], 16, atol=1e-4)


def test_without_zoom_larger_images_are_resized():
    images, boxes = batch(4, size=64)
    resized, moved = numpy(augment(size=32)(images, boxes))
    np.testing.assert_allclose(moved[..., 1:5], boxes[..., 1:5] / 2)
    expected, _ = numpy(resize(images, boxes, 32))
    np.testing.assert_allclose(resized, np.clip(expected, 0, 1), atol=1e-6)


def test_mosaics_are_four_images_with_their_boxes():
    images, boxes = batch(8, size=64, least=8)
    boxes[::3, 0, 5] = 1
    mosaics, moved = numpy(augment(size=48, mosaic=0.5)(images, boxes))
    assert mosaics.shape == (8, 48, 48, 3)
    assert moved.shape == (8, 8, 6)
    quarter, quarter_boxes = numpy(resize(images, boxes, 24))
    for row in range(4):
        for index, (x, y) in enumerate([(0, 0), (24, 0), (0, 24), (24, 24)]):
            source = row + index
            np.testing.assert_allclose(mosaics[row, y : y + 24, x : x + 24], quarter[source], atol=1e-6)
            expected = quarter_boxes[source] + np.float32([0, x, y, x, y, 0])
            np.testing.assert_allclose(moved[row, index::4], expected, atol=1e-5)
    whole, whole_boxes = numpy(resize(images, boxes, 48))
    np.testing.assert_allclose(mosaics[4:], np.clip(whole[4:], 0, 1), atol=1e-6)
    np.testing.assert_allclose(moved[4:, :2], whole_boxes[4:])
    assert (moved[4:, 2:] == 0).all()


@pytest.mark.parametrize("size", [1, 2, 6])
def test_the_share_of_mosaics_holds_in_small_batches(size: int):
    images, boxes = batch(size, size=32, least=8)
    layer = augment(size=32, mosaic=0.25, batch_size=size)
    mosaics = 0
    for _ in range(160):
        seen, moved = numpy(layer(images, boxes))
        plain = np.abs(seen - images).max(axis=(1, 2, 3)) < 1e-6
        np.testing.assert_allclose(moved[plain][:, : boxes.shape[1]], boxes[plain])
        assert not plain.all() or not moved[:, boxes.shape[1] :].any()
        mosaics += np.count_nonzero(~plain)
    assert mosaics / (160 * size) == pytest.approx(0.25, abs=0.1)


def test_a_batch_of_mosaics_alone_zoomed_and_flipped():
    images, boxes = batch(8, size=64, least=16)
    settings = {"mosaic": 1.0, "scale": (0.8, 1.5), "flip_probability": 0.5}
    mosaics, moved = numpy(augment(size=64, **settings)(images, boxes))
    assert mosaics.shape == (8, 64, 64, 3)
    found = 0
    for image, image_boxes in zip(mosaics, moved, strict=True):
        for _, x1, y1, x2, y2, ignored in image_boxes[image_boxes[:, 0] > 0]:
            if ignored:
                continue
            x, y = 32 * (x1 >= 32), 32 * (y1 >= 32)
            rows, columns = np.nonzero(image[y : y + 32, x : x + 32, 0] > 0.5)
            around = [columns.min() + x, rows.min() + y, columns.max() + 1 + x, rows.max() + 1 + y]
            np.testing.assert_allclose([x1, y1, x2, y2], around, atol=1.01)
            found += 1
    assert 20 < found <= 32


def test_brightness_shifts_whole_images_within_bounds():
    images = np.full((64, 32, 32, 3), 0.5, np.float32)
    changed, _ = augment(brightness=0.1)(images, np.zeros((64, 1, 6), np.float32))
    shifts = ops.convert_to_numpy(changed) - 0.5
    assert np.ptp(shifts, axis=(1, 2, 3)).max() < 1e-6
    assert abs(shifts).max() <= 0.1 + 1e-6
    assert 0.3 < (abs(shifts[:, 0, 0, 0]) > 1e-6).mean() < 0.7


def _middle_tones(count=64, size=8):
    """Noise that no factor up to 1.5 drives out of [0, 1]."""
    return np.random.default_rng(0).uniform(0.3, 0.7, (count, size, size, 3)).astype(np.float32)


def test_contrast_stretches_about_the_mean_of_an_image():
    images = _middle_tones()
    changed, _ = numpy(augment(size=8, contrast=0.3)(images, np.zeros((64, 1, 6), np.float32)))
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    factors = (changed - mean).std(axis=(1, 2, 3)) / (images - mean).std(axis=(1, 2, 3))
    np.testing.assert_allclose(changed, mean + (images - mean) * factors[:, None, None, None], atol=1e-5)
    assert 0.7 - 1e-4 < factors.min() < 0.75
    assert 1.25 < factors.max() < 1.3 + 1e-4


def test_saturation_moves_colours_from_or_to_grey_of_the_same_luma():
    images = _middle_tones()
    changed, _ = numpy(augment(size=8, saturation=0.4)(images, np.zeros((64, 1, 6), np.float32)))
    before, after = (np.einsum("bhwc,c->bhw", each, [0.299, 0.587, 0.114])[..., None] for each in (images, changed))
    np.testing.assert_allclose(after, before, atol=1e-5)
    factors = (changed - after).std(axis=(1, 2, 3)) / (images - before).std(axis=(1, 2, 3))
    np.testing.assert_allclose(changed - after, (images - before) * factors[:, None, None, None], atol=1e-5)
    assert 0.6 - 1e-4 < factors.min() < 0.66
    assert 1.34 < factors.max() < 1.4 + 1e-4


def test_noise_has_its_deviation_and_pixels_stay_in_range():
    images = np.full((192, 32, 32, 3), 0.5, np.float32)
    boxes = np.zeros((192, 1, 6), np.float32)
    noise = ops.convert_to_numpy(augment(noise=0.01)(images, boxes)[0]) - 0.5
    noisy = noise.std(axis=(1, 2, 3)) > 1e-6
    assert 0.35 < noisy.mean() < 0.65
    noise = noise[noisy][:64]
    assert 0.009 < noise.std() < 0.011
    assert abs(noise.mean()) < 1e-3
    assert 0.002 < (np.abs(noise) > 0.03).mean() < 0.0035  # 0.0027 of a normal distribution
    assert len(np.unique(noise[:, 0], axis=0)) > 55  # rows are drawn, for each image and within it
    assert len(np.unique(noise[0], axis=0)) > 28
    white = ops.convert_to_numpy(augment(noise=0.5, brightness=0.1)(images * 2, boxes)[0])
    assert white.min() >= 0
    assert white.max() <= 1


@pytest.mark.parametrize("settings", [{"flip_probability": 0.5}, {"scale": (0.5, 2.0)}])
def test_the_seed_decides_and_every_call_is_another_draw(settings):
    images, boxes = batch(16)
    layer = augment(seed=3, **settings)
    first, second = numpy(layer(images, boxes)[1] for _ in range(2))
    again = ops.convert_to_numpy(augment(seed=3, **settings)(images, boxes)[1])
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
