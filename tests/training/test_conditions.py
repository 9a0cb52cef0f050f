import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from keras import ops

from fcoslite.config.settings import AugmentSettings
from fcoslite.data.images import read_image
from fcoslite.training import augment, conditions
from fcoslite.training.conditions import DRAWS, KINDS, degrade, draw_kinds

SIDE = 64
CHANGES = KINDS[1:]


@pytest.fixture(scope="module")
def photograph(demo_data):
    """[SIDE, SIDE, 3] in [0, 1], a part of a photograph at half its size."""
    image = read_image(demo_data / "images" / "000000000165.jpg")[100 : 100 + 2 * SIDE, 100 : 100 + 2 * SIDE]
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _normal(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def _changed(change, image, *draws):
    numbers = np.float32([*draws, *[0.5] * (DRAWS - len(draws))])
    return ops.convert_to_numpy(change(ops.convert_to_tensor(image), numbers, _normal(*image.shape)))


def _every_kind(photograph):
    """What `degrade` takes: each kind three times, as little as can be drawn, half of it, and the most."""
    kinds = np.repeat(np.arange(len(KINDS)), 3).astype(np.int32)
    draws = np.tile(np.float32([[0.0], [0.5], [0.999]]), (len(KINDS), DRAWS))
    images = np.repeat(photograph[None], len(kinds), axis=0)
    return images, kinds, draws, _normal(*images.shape)


def test_pixels_stay_in_range_however_much_is_drawn(photograph):
    images, *drawn = _every_kind(photograph)
    changed = ops.convert_to_numpy(degrade(images, *drawn))
    assert changed.shape == images.shape
    assert changed.min() >= 0 and changed.max() <= 1
    np.testing.assert_array_equal(changed[:3], images[:3])
    most = abs(changed - images).mean(axis=(1, 2, 3))[5::3]
    assert (most > 0.005).all() and (most < 0.3).all()


@pytest.mark.parametrize("change", [conditions.grey, conditions.night])
def test_without_colours(change, photograph):
    changed = _changed(change, photograph)
    np.testing.assert_array_equal(changed[..., :1].repeat(3, axis=-1), changed)
    assert changed.std() > 0.05


def test_few_photons_are_as_noisy_as_poisson_says():
    light = 0.5
    seen = _changed(conditions.dark, np.full((SIDE, SIDE, 3), light ** (1 / 2.2), np.float32), 0.9, 0.99) ** 2.2
    photons, gain = 12 * (200 / 12) ** 0.9, 0.2 * 3.5**0.99
    assert seen.mean() / gain == pytest.approx(light, rel=0.01)
    assert (seen / gain).std() == pytest.approx(np.sqrt(light / photons + (1.6 / photons) ** 2), rel=0.05)


def test_a_lamp_lights_the_middle():
    changed = _changed(conditions.night, np.ones((SIDE, SIDE, 3), np.float32), 0.5, 0.5, 0.5, 1.0)
    assert changed[24:40, 24:40].mean() > 2 * changed[[0, -1]].mean() > 0.1


@pytest.mark.parametrize("change", [conditions.motion, conditions.defocus, conditions.lowres])
@pytest.mark.parametrize("strength", [0.0, 0.999])
def test_blur_moves_light_and_loses_none(change, strength):
    image = np.zeros((256, 256, 3), np.float32)
    image[100:156, 90:166] = [0.2, 0.5, 1.0]
    changed = _changed(change, image, strength, 0.3)
    np.testing.assert_allclose(changed.mean(axis=(0, 1)), image.mean(axis=(0, 1)), rtol=1e-3)
    edge = (changed[128, :, 2] > 0.02) & (changed[128, :, 2] < 0.98)
    assert (1 if strength == 0 else 4) <= edge.sum() <= (10 if strength == 0 else 32)
    flat = np.full((SIDE, SIDE, 3), 0.3, np.float32)
    np.testing.assert_allclose(_changed(change, flat, strength, 0.3), flat, atol=1e-5)


def test_motion_is_as_long_as_drawn_and_along_its_angle():
    image = np.zeros((200, 200, 3), np.float32)
    image[100, 100] = 1
    rows, columns = np.nonzero(_changed(conditions.motion, image, 0.999, 0.0)[..., 0])
    assert set(rows) == {100} and np.ptp(columns) == 10  # 0.05 of the side
    rows, columns = np.nonzero(_changed(conditions.motion, image, 0.999, 0.5)[..., 0])
    assert set(columns) == {100} and np.ptp(rows) == 10


def test_fewer_pixels_as_opencv_makes_them(photograph):
    draw = np.log(4 / 1.5) / np.log(5 / 1.5)
    small = cv2.resize(photograph, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(_changed(conditions.lowres, photograph, draw), expected, atol=1e-4)


@pytest.mark.parametrize("quality", [8, 25])
@pytest.mark.parametrize("side", [SIDE, 56])  # 56 is no multiple of 16
def test_jpeg_as_opencv_makes_it(photograph, quality, side):
    image = photograph[:side, :side]
    ours = np.clip(conditions.compress(ops.convert_to_tensor(image), 50 / quality), 0, 1)
    encoded = cv2.imencode(".jpg", np.rint(image[..., ::-1] * 255), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    theirs = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1] / 255
    error = abs(theirs - image).mean()
    assert error > 0.01
    assert abs(ours - theirs).mean() < error / 3
    assert abs(ours - image).mean() == pytest.approx(error, rel=0.15)


def test_fog_takes_contrast_and_gives_light(photograph):
    np.testing.assert_allclose(_changed(conditions.fog, photograph, 0.0, 1.0), photograph * 0.25 + 0.75, atol=1e-6)


def test_noise_has_its_deviation():
    changed = _changed(conditions.noise, np.full((SIDE, SIDE, 3), 0.5, np.float32), 1.0)
    assert changed.std() == pytest.approx(0.14, rel=0.03)


def test_kinds_are_drawn_as_often_as_they_should():
    drawn = np.random.default_rng(0).random(100_000).astype(np.float32)
    counts = np.bincount(ops.convert_to_numpy(draw_kinds(drawn, 0.36)), minlength=len(KINDS))
    times = {"dark": 2, "night": 3, "motion": 3, "lowres": 2, "jpeg": 2}
    changes = [0.36 * times.get(change.__name__, 1) / 16 for change in CHANGES]
    np.testing.assert_allclose(counts / len(drawn), [0.64, *changes], atol=0.004)
    edges = ops.convert_to_numpy(draw_kinds(np.float32([0, np.nextafter(np.float32(0.3), 0), 0.3]), 0.3))
    assert edges.tolist() == [1, len(CHANGES), 0]


def _layer(batch_size, **settings):
    return augment.Augment(AugmentSettings.model_validate(settings), SIDE, batch_size, seed=3)


def _batch(photograph, count):
    boxes = np.tile(np.float32([1, 8, 4, 40, 60, 0]), (count, 2, 1))
    return np.repeat(photograph[None], count, axis=0), boxes


def _taken(layer, images, boxes):
    images, boxes = layer(images, boxes)
    return layer.change_conditions(images), boxes


def test_a_share_of_a_batch_is_changed_and_no_box_moves(photograph):
    batch = _batch(photograph, 8)
    without, boxes = _layer(8)(*batch)
    layer = _layer(8, conditions=0.3)
    changed, same_boxes = _taken(layer, *batch)
    np.testing.assert_array_equal(same_boxes, boxes)
    np.testing.assert_array_equal(changed[:5], without[:5])  # what is drawn for the rest is drawn afterwards
    again, _ = _taken(_layer(8, conditions=0.3), *batch)
    np.testing.assert_array_equal(again, changed)  # the seed decides
    state = np.array(layer.random.state)
    next_one, _ = _taken(layer, *batch)
    assert not np.array_equal(next_one[5:], changed[5:])
    layer.random.state.assign(state)  # as a resumed run finds it
    np.testing.assert_array_equal(_taken(layer, *batch)[0], next_one)


def test_the_share_holds_in_small_batches(photograph, monkeypatch):
    drawn = []
    monkeypatch.setattr(augment, "degrade", lambda images, kinds, *_: drawn.append(np.asarray(kinds)) or images)
    for batch_size in (1, 3):
        layer = _layer(batch_size, conditions=0.35, flip_probability=0, brightness=0, noise=0)
        for _ in range(80):
            _taken(layer, *_batch(photograph, batch_size))
        changed = np.concatenate(drawn) > 0
        assert changed.sum() / (80 * batch_size) == pytest.approx(0.35, abs=0.12)
        drawn.clear()


def test_without_the_setting_nothing_is_drawn_or_computed(photograph, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(augment, "degrade", never)
    layer = _layer(4, noise=0)
    before = ops.convert_to_numpy(layer.random.state).copy()
    _taken(layer, *_batch(photograph, 4))
    assert layer._noise_rows.shape == (0, 0)
    assert (ops.convert_to_numpy(layer.random.state) - before).tolist() == [0, 3]  # flip, shift, and whether to shift


DEGRADE = """
import sys
from fcoslite.machine.backend import load_backend

load_backend()
import jax
import numpy as np

from fcoslite.training.conditions import degrade

with np.load(sys.argv[1]) as given:
    np.save(sys.argv[2], jax.jit(degrade)(*given.values()))
"""


def test_jax_makes_the_same_pictures(photograph, tmp_path):
    pytest.importorskip("jax")
    given = _every_kind(photograph)
    np.savez(tmp_path / "given.npz", *given)
    command = [sys.executable, "-c", DEGRADE, str(tmp_path / "given.npz"), str(tmp_path / "jax.npy")]
    done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "jax.npy"), ops.convert_to_numpy(degrade(*given)), atol=1e-4)
