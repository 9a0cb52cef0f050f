import numpy as np
import pytest

from fcoslite.config.settings import ModelSettings
from fcoslite.errors import WeightsError
from fcoslite.models.detector import build_detector
from fcoslite.models.header import model_settings
from fcoslite.models.weights import load_backbone, load_detector, load_weights, save_weights
from fcoslite.storage.arrays import read_arrays, write_arrays

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


def _model(**changes):
    return {"kind": "weights", "model": {**SMALL, "classes": ["person"], **changes}}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, "does not hold the weights of a detector"),
        ({"kind": "state", "step": 5}, "does not hold the weights of a detector"),
        ({"kind": ["weights"]}, "does not hold the weights of a detector"),
        ({"kind": "weights"}, "model is None, and must be a section"),
        ({"kind": "weights", "model": []}, "must be a section"),
        (_model(preset="yolo"), "one of lite, lite0, r50"),
        (_model(image_size=10**9), "at most 4,096"),
        (_model(head_channels=10**9), "at most 1,024"),
        (_model(head_depth=10**9), "at most 8"),
        (_model(strides=[4] * 10**5), "a list of 1 to 8"),
        (_model(strides=[4, 8, 8]), "do not make a pyramid"),
        (_model(classes=["a"] * 10**5), "a list of 1 to 2,000"),
        (_model(classes=["x" * 10**6]), "text of 1 to 1,000"),
        (_model(classes=["\x1b[2J"]), "control characters"),
        (_model(classes={"a": 1}), "a list"),
        (_model(classes=5), "a list"),
        (_model(surprise=1), "unknown setting 'model.surprise'"),
        (_model(classes=["person", "dog"]), r"head_class_logits/\w+ is float32 .*1.*, and should be float32 .*2"),
        (_model(head_depth=2), "it lacks head_"),
        (_model(preset="lite0"), "it lacks backbone_"),
    ],
)
def test_a_header_that_lies_is_refused(saved, header, message):
    arrays, _ = read_arrays(saved)
    write_arrays(saved, arrays, header)
    with pytest.raises(WeightsError, match=message) as caught:
        load_detector(saved)
    assert str(saved) in caught.value.message and caught.value.hint
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("preset", ["lite", "r50"])
def test_a_file_does_not_decide_which_other_files_are_read(saved, preset):
    arrays, _ = read_arrays(saved)
    write_arrays(saved, arrays, _model(preset=preset, image_size=128, backbone_weights="/etc/hostname"))
    assert model_settings(saved).backbone_weights is None
    if preset == "r50":
        with pytest.raises(WeightsError, match="it lacks"):
            load_detector(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: np.full_like(array, np.nan), "holds NaN or infinity"),
        (lambda array: np.where(array == array.max(), np.inf, array), "holds NaN or infinity"),
        (lambda array: np.full(array.shape, 1e300), "holds NaN or infinity"),
        (lambda array: array.astype("int32"), "is int32"),
        (lambda array: array > 0, "is bool"),
        (lambda array: array[..., None], "and should be float32"),
        (lambda array: array.T, "and should be float32"),
    ],
)
def test_values_that_cannot_be_weights_are_refused(small, saved, change, message):
    before = [np.array(weight) for weight in small.network.weights]
    arrays, header = read_arrays(saved)
    name = "backbone_c3a_conv1/kernel"
    write_arrays(saved, {**arrays, name: change(arrays[name])}, header)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(small, saved)
    assert name in caught.value.message
    for one, other in zip(before, small.network.weights, strict=True):
        np.testing.assert_array_equal(one, np.asarray(other))


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


def test_a_part_may_be_learned_anew(small, saved):
    bins = ModelSettings.model_validate({**SMALL, "distance_bins": 5, "classes": ["person"]})
    detector = build_detector(bins, seed=7)
    before = {weight.path: np.asarray(weight) for weight in detector.network.weights}
    with pytest.raises(WeightsError, match="head_"):
        load_weights(detector, saved, anew=("head_distances/",))  # exp's factors are left over
    load_weights(detector, saved, anew=("head_distances/", "head_s"))
    trained = {weight.path: np.asarray(weight) for weight in small.network.weights}
    for weight in detector.network.weights:
        expected = before if weight.path.startswith("head_distances/") else trained
        np.testing.assert_array_equal(np.asarray(weight), expected[weight.path])


def test_a_failed_write_leaves_the_old_file(saved):
    before = saved.read_bytes()
    with pytest.raises(TypeError):
        write_arrays(saved, {}, {"bad": object()})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["weights.npz"]


def test_missing_file(tmp_path):
    with pytest.raises(WeightsError, match="no weights at"):
        load_detector(tmp_path / "none.npz")


def _split(network):
    """Arrays of the backbone, and of everything else."""
    arrays = {weight.path: np.asarray(weight) for weight in network.weights}
    backbone = {path: array for path, array in arrays.items() if path.startswith("backbone_")}
    return backbone, {path: array for path, array in arrays.items() if path not in backbone}


def _assert_equal(one, other):
    assert one.keys() == other.keys()
    for path, array in one.items():
        np.testing.assert_array_equal(array, other[path], err_msg=path)


def test_a_backbone_is_loaded_and_nothing_else(small, saved, tmp_path):
    backbone, _ = _split(small.network)
    write_arrays(tmp_path / "backbone.npz", backbone, {"kind": "backbone"})
    # of other classes and widths: the backbone is the same
    other = ModelSettings(image_size=64, head_depth=2, head_channels=32, classes=("dog", "cat"))
    for path in (saved, tmp_path / "backbone.npz"):
        detector = build_detector(other, seed=9)
        _, rest = _split(detector.network)
        load_backbone(detector, path)
        loaded, after = _split(detector.network)
        _assert_equal(loaded, backbone)
        _assert_equal(after, rest)


def test_another_backbone_is_refused_and_nothing_assigned(small, saved, tmp_path):
    lite0 = build_detector(ModelSettings(preset="lite0", image_size=64), seed=0)
    before, _ = _split(lite0.network)
    with pytest.raises(WeightsError, match="does not fit the efficientnet_lite0 backbone"):
        load_backbone(lite0, saved)
    backbone, _ = _split(small.network)
    short = dict(list(backbone.items())[1:])
    reshaped = {path: array[..., :-1] if path.endswith("kernel") else array for path, array in before.items()}
    for arrays in (short, reshaped, {}):
        write_arrays(tmp_path / "part.npz", arrays, {"kind": "backbone"})
        with pytest.raises(WeightsError, match="does not fit"):
            load_backbone(lite0, tmp_path / "part.npz")
    _assert_equal(_split(lite0.network)[0], before)
    with pytest.raises(WeightsError, match="no weights at"):
        load_backbone(lite0, tmp_path / "none.npz")


def test_a_backbone_file_is_no_detector(small, tmp_path):
    write_arrays(tmp_path / "backbone.npz", _split(small.network)[0], {"kind": "backbone"})
    with pytest.raises(WeightsError):
        load_detector(tmp_path / "backbone.npz")
