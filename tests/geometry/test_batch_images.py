import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from fcoslite.geometry.batch_images import crop, cut_squares, normalise, resize
from fcoslite.geometry.letterbox import Letterbox
from tests.rectangles import PAD, augment, batch, numpy

NO_BOXES = np.zeros((1, 1, 6), np.float32)


@pytest.fixture(scope="module")
def photograph(demo_data):
    """[128, 128, 3] in [0, 1], a part with detail everywhere."""
    image = cv2.imread(str(demo_data / "images" / "000000000030.jpg"))
    assert min(image.shape[:2]) >= 328
    return image[200:328, 200:328].astype(np.float32) / 255


def _resized(image, size):
    return numpy(resize(image[None], NO_BOXES, size))[0][0]


def test_normalise_maps_bytes_to_the_unit_interval():
    values = ops.convert_to_numpy(normalise(np.array([0, 114, 255], np.uint8)))
    np.testing.assert_allclose(values, [0, 114 / 255, 1], atol=1e-6)


@pytest.mark.parametrize("size", [129, 200, 256])
def test_enlarging_is_opencvs_linear_interpolation(photograph, size):
    expected = cv2.resize(photograph, (size, size), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(_resized(photograph, size), expected, atol=1e-4)


@pytest.mark.parametrize("size", [32, 50, 64, 127])
def test_shrinking_is_linear_interpolation_with_antialiasing(photograph, size):
    expected = ops.image.resize(photograph, (size, size), interpolation="bilinear", antialias=True)
    np.testing.assert_allclose(_resized(photograph, size), ops.convert_to_numpy(expected), atol=1e-4)


@pytest.mark.parametrize("size", [32, 64])
def test_shrinking_is_near_opencvs_mean_of_areas(photograph, size):
    """What a letterbox does to a photograph: records of another size train the same model."""
    expected = cv2.resize(photograph, (size, size), interpolation=cv2.INTER_AREA)
    dropped = cv2.resize(photograph, (size, size), interpolation=cv2.INTER_NEAREST)
    difference = np.abs(_resized(photograph, size) - expected)
    assert difference.mean() < 0.01
    assert difference.mean() < 0.5 * np.abs(dropped - expected).mean()  # nothing is dropped
    assert abs((_resized(photograph, size) - expected).mean()) < 1e-3  # nor shifted in brightness


def test_the_same_size_changes_nothing(photograph):
    boxes = np.float32([[[1, 3, 4, 50, 60, 0]]])
    images, same = resize(photograph[None], boxes, 128)
    assert images is not None
    np.testing.assert_array_equal(ops.convert_to_numpy(images)[0], photograph)
    np.testing.assert_array_equal(ops.convert_to_numpy(same), boxes)
    whole, same = numpy(crop(photograph[None], boxes, np.zeros((1, 2), np.float32), np.float32([128]), 128, 128))
    np.testing.assert_allclose(whole[0], photograph, atol=1e-6)
    np.testing.assert_allclose(same, boxes)


def test_boxes_of_a_resized_record_are_those_of_a_smaller_letterbox():
    large, small = Letterbox.square(480, 640, 128), Letterbox.square(480, 640, 64)
    box_xyxy = np.float32([100, 50, 300, 400])
    boxes = np.concatenate([[1], large.apply_boxes(box_xyxy), [0]]).astype(np.float32)[None, None]
    _, resized = numpy(resize(np.zeros((1, 128, 128, 3), np.float32), boxes, 64))
    np.testing.assert_allclose(resized[0, 0], [1, *small.apply_boxes(box_xyxy), 0], atol=1e-4)


def test_a_crop_is_opencvs_affine_warp_on_the_colour_of_padding(photograph):
    """Each image its own square, within, around and beside the picture."""
    corners = np.float32([[16, 40], [-32, -20], [100, -30], [64, 0], [300, 300]])
    sides, size = np.float32([64, 128, 64, 32, 64]), 128
    boxes = np.zeros((5, 1, 6), np.float32)
    cropped, _ = numpy(crop(np.repeat(photograph[None], 5, axis=0), boxes, corners, sides, size, 128))
    for image, (x, y), side in zip(cropped, corners, sides, strict=True):
        step = side / size
        matrix = np.float32([[step, 0, x + step / 2 - 0.5], [0, step, y + step / 2 - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(photograph, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        line = (np.arange(size) + 0.5) * step
        inside = ((line + y > 0) & (line + y < 128))[:, None] & ((line + x > 0) & (line + x < 128))[None]
        expected = np.where(inside[..., None], warped, np.float32(PAD))
        np.testing.assert_allclose(image, expected, atol=1e-4)


@pytest.mark.parametrize("size", [40, 64, 96])
def test_resampling_by_blocks_is_the_product_with_the_whole_matrix(photograph, size):
    """What it was before, an image at a time: T x S weights for each axis, and two products."""
    corners, sides = np.float32([[-20, -50], [3.3, 60.1], [0, 0], [90, -7.5]]), np.float32([190, 64.7, 128, 100])
    images = np.stack([np.roll(photograph, shift, axis=1) for shift in (0, 10, 20, 30)])
    cut = ops.convert_to_numpy(cut_squares(images, corners, sides, size, 190))

    def weights(start, side):
        step = side / size
        centre = start + (np.arange(size) + 0.5) * step
        triangle = np.maximum(1 - np.abs(np.arange(128) + 0.5 - centre[:, None]) / max(step, 1), 0)
        inside = ((centre > 0) & (centre < 128))[:, None]
        return triangle / np.maximum(triangle.sum(axis=1, keepdims=True), 1e-6) * inside

    for found, image, (x, y), side in zip(cut, images.astype(np.float64), corners, sides, strict=True):
        rows, columns = weights(y, side), weights(x, side)
        expected = np.einsum("ts,sqc,uq->tuc", rows, image - PAD, columns) + PAD
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_crop_that_shrinks_keeps_the_brightness_of_what_it_sees():
    image = np.full((1, 32, 32, 3), 0.9, np.float32)
    cropped, _ = numpy(crop(image, NO_BOXES, np.float32([[-16, -16]]), np.float32([64]), 16, 64))
    expected = np.full((16, 16, 3), PAD, np.float32)
    expected[4:12, 4:12] = 0.9
    np.testing.assert_allclose(cropped[0], expected, atol=1e-5)


@given(
    box=st.tuples(*[st.floats(0, 40, width=32)] * 2, *[st.floats(1, 24, width=32)] * 2),
    corner=st.tuples(*[st.floats(-32, 48, width=32)] * 2),
    side=st.floats(4, 128, width=32),
    crowd=st.sampled_from([0, 1]),
)
def test_boxes_move_with_the_square_and_are_cut_at_its_sides(box, corner, side, crowd):
    size = 32
    x, y, width, height = box
    boxes = np.float32([[[3, x, y, x + width, y + height, crowd], [0, 0, 0, 0, 0, 0]]])
    images = np.zeros((1, 64, 64, 3), np.float32)
    _, (moved,) = numpy(crop(images, boxes, np.float32([corner]), np.float32([side]), size, 128))
    scale = size / side
    whole = (np.array([x, y, x + width, y + height]) - np.tile(corner, 2)) * scale
    cut = np.clip(whole, 0, size)
    np.testing.assert_allclose(moved[0, 1:5], cut, atol=1e-3)
    assert (moved[:, 1:5] >= 0).all()
    assert (moved[:, 1:5] <= size).all()
    visible = max(cut[2] - cut[0], 0) * max(cut[3] - cut[1], 0) / (width * height * scale**2)
    beside = max(-whole[2:].min(), whole[:2].max() - size)  # pixels between box and square
    if beside > 1e-3:
        assert moved[0, [0, 5]].tolist() == [0, 0]
    elif visible > 1e-3 and abs(visible - 0.3) > 1e-3:
        # of which little is left is ignored, like a crowd
        assert moved[0, [0, 5]].tolist() == [3, crowd if visible > 0.3 else 1]
    assert moved[1, [0, 5]].tolist() == [0, 0]  # padding stays padding, wherever it is moved


def test_boxes_move_with_the_pixels():
    images, boxes = batch(32)
    boxes[..., 5] = 1
    moved, moved_boxes = numpy(augment(flip_probability=0.5)(images, boxes))
    flipped = 0
    for image, box, before in zip(moved, moved_boxes, boxes, strict=True):
        rows, columns = np.nonzero(image[..., 0])
        around = [1, columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 1]
        np.testing.assert_allclose(box[0], around)
        flipped += not np.array_equal(box[0], before[0])
    assert 5 < flipped < 27
