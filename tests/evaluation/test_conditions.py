"""Each condition is what its name says, and the same for everybody."""

import cv2
import numpy as np
import pytest

from fcoslite.data.images import read_image
from fcoslite.evaluation.conditions import CONDITIONS, take

NAMES = list(CONDITIONS)


@pytest.fixture(scope="module")
def photograph(demo_data) -> np.ndarray:
    return read_image(demo_data / "images" / "000000000165.jpg")


def _flat(value: float, height: int = 120, width: int = 160) -> np.ndarray:
    return np.full((height, width, 3), round(value * 255), np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_name_decides(photograph, name):
    before = photograph.copy()
    taken = take(name, photograph, "a.jpg")
    assert taken.shape == photograph.shape and taken.dtype == np.uint8
    np.testing.assert_array_equal(photograph, before)
    np.testing.assert_array_equal(take(name, photograph, "a.jpg"), taken)
    by_chance = name in ("dark", "night", "noise", "motion")
    assert np.array_equal(take(name, photograph, "b.jpg"), taken) is not by_chance
    assert 3 < abs(taken.astype(int) - photograph).mean() < 110


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 50)])
def test_small_images(name, height, width):
    assert take(name, _flat(0.5, height, width), "a.jpg").shape == (height, width, 3)


@pytest.mark.parametrize("name", ["grey", "night"])
def test_without_colours(photograph, name):
    taken = take(name, photograph, "a.jpg")
    np.testing.assert_array_equal(taken, taken[..., :1].repeat(3, axis=-1))


def test_dusk_is_six_hundredths_of_the_light_with_gain_of_six():
    light = (take("dark", _flat(0.8), "a.jpg") / 255) ** 2.2
    assert light.mean() == pytest.approx(0.36 * 0.8**2.2, rel=0.03)
    photons = 24 * 0.8**2.2
    assert light.std() == pytest.approx(6 / 400 * np.sqrt(photons + 1.6**2), rel=0.05)


def test_the_lamp_lights_the_middle():
    taken = take("night", _flat(1.0), "a.jpg") / 255
    assert taken[55:65, 75:85].mean() == pytest.approx(0.9, abs=0.02)
    assert taken[:4, :4].mean() == pytest.approx(0.9 * np.exp(-1.5), abs=0.03)
    assert taken[55:65, 75:85].std() == pytest.approx(0.05, abs=0.015)


def test_noise_has_its_deviation():
    assert take("noise", _flat(0.5), "a.jpg").std() == pytest.approx(25, rel=0.02)


def test_motion_is_a_line_of_fifteen_pixels_that_keeps_the_light():
    point = np.zeros((64, 64, 3), np.uint8)
    point[31:34, 31:34] = 255
    for number in range(8):
        taken = take("motion", point, f"{number}.jpg")[..., 0].astype(float)
        assert taken.sum() == pytest.approx(9 * 255, rel=0.1)
        points = np.argwhere(taken > 8).astype(float)
        length, breadth = np.sqrt(np.linalg.eigvalsh(np.cov(points.T))[::-1] * 12)  # of a bar as spread as the points
        assert 14 < length < 19 and breadth < 6


def test_jpeg_is_opencvs(photograph):
    encoded = cv2.imencode(".jpg", photograph[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 8])[1]
    np.testing.assert_array_equal(take("jpeg", photograph, "a.jpg"), cv2.imdecode(encoded, 1)[..., ::-1])


def test_low_resolution_keeps_nothing_finer_than_four_pixels():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 200
    np.testing.assert_array_equal(take("lowres", stripes, "a.jpg"), 100)


def test_fog():
    np.testing.assert_array_equal(np.unique(take("fog", _flat(0.0), "a.jpg")), [153])
    np.testing.assert_array_equal(np.unique(take("fog", _flat(1.0), "a.jpg")), [242])
