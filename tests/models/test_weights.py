import numpy as np
import pytest

from fcoslite.config import ModelSettings
from fcoslite.errors import WeightsError
from fcoslite.models.detector import build_detector
from fcoslite.models.weights import load_detector, load_weights, read_arrays, save_weights, write_arrays

SMALL = {"image_size": 64, "head_depth": 1}


@pytest.fixture(scope="module")
def small():
    return build_detector(ModelSettings.model_validate(SMALL), seed=3)


@pytest.fixture
def saved(small, tmp_path):
    save_weights(small, tmp_path / "weights.npz", {"epoch": 5})
    return tmp_path / "weights.npz"


def test_a_detector_comes_back_whole(small, saved):
    again, header = load_detector(saved)
    assert header["epoch"] == 5
    assert again.class_names == small.class_names
    assert again.architecture == small.architecture
    for one, other in zip(small.network.weights, again.network.weights, strict=True):
        assert one.path == other.path
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_half_precision_files_load(small, saved, tmp_path):
    arrays, header = read_arrays(saved)
    write_arrays(tmp_path / "half.npz", {name: array.astype("float16") for name, array in arrays.items()}, header)
    again, _ = load_detector(tmp_path / "half.npz")
    for one, other in zip(small.network.weights, again.network.weights, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=2e-3)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "foreign"])
def test_damaged_files_are_refused(saved, damage):
    data = bytearray(saved.read_bytes())
    if damage == "cut":
        saved.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[len(data) // 2] ^= 0xFF
        saved.write_bytes(data)
    elif damage == "empty":
        saved.write_bytes(b"")
    elif damage == "text":
        saved.write_text("not weights")
    else:
        np.savez(saved, a=np.zeros(3))
    with pytest.raises(WeightsError):
        load_detector(saved)


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, fcoslite=np.array([{"code": "object"}], dtype=object))
    with pytest.raises(WeightsError):
        load_detector(path)


def test_another_model_or_class_is_refused_and_nothing_assigned(small, saved):
    before = [np.asarray(weight) for weight in small.network.weights]
    wider = build_detector(ModelSettings.model_validate({**SMALL, "head_channels": 32}), seed=1)
    with pytest.raises(WeightsError, match="does not fit"):
        load_weights(wider, saved)
    dog = build_detector(ModelSettings.model_validate({**SMALL, "classes": ["dog"]}), seed=1)
    with pytest.raises(WeightsError, match="person"):
        load_weights(dog, saved)
    for one, other in zip(before, small.network.weights, strict=True):
        np.testing.assert_array_equal(one, np.asarray(other))


def test_a_failed_write_leaves_the_old_file(saved):
    before = saved.read_bytes()
    with pytest.raises(TypeError):
        write_arrays(saved, {}, {"bad": object()})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["weights.npz"]


def test_missing_file(tmp_path):
    with pytest.raises(WeightsError, match="no weights at"):
        load_detector(tmp_path / "none.npz")
