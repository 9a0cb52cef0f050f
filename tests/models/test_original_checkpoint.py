import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import fcoslite.models
from fcoslite.config.load import make_settings
from fcoslite.config.settings import ModelSettings
from fcoslite.errors import WeightsError
from fcoslite.models.detector import build_detector
from fcoslite.models.original_checkpoint import import_checkpoint
from fcoslite.models.weights import load_detector

Arrays = dict[str, np.ndarray]


def _settings(**model: Any) -> ModelSettings:
    return make_settings({"model": {"image_size": 64, **model}}, "test").model


def _block(name: str, shortcut: bool) -> list[str]:
    parts = ["conv1", "norm1", "conv2", "norm2", "conv3", "shortcut", "norm3", "conv4", "norm4"]
    return [f"backbone_{name}_{part}" for part in parts if shortcut or part != "shortcut"]


# our names for layer_with_weights-0 to -72 in a checkpoint that TensorFlow 2.15.1 wrote
BODY = [
    *["backbone_stem_conv", "backbone_stem_norm"],
    *_block("c2a", True),
    *_block("c2b", False),
    *_block("c3a", True),
    *_block("c3b", False),
    *_block("c4a", True),
    *_block("c5a", True),
    *["neck_s32_lateral", "neck_s16_lateral", "neck_s32_lateral_norm", "neck_s16_lateral_norm"],
    *["neck_s8_lateral", "neck_s16_fuse_norm", "neck_s8_lateral_norm"],
    *["neck_s4_lateral", "neck_s8_fuse_norm", "neck_s4_lateral_norm", "neck_s4_fuse_norm"],
    *[f"neck_s{stride}_smooth" for stride in (4, 8, 16, 32)],
    *[f"neck_s{stride}_smooth_norm" for stride in (4, 8, 16, 32)],
]
# the same for a model that adds shortcut + main path, and upsampled + lateral
OTHER_BODY = list(BODY)
for _first, _second in [
    *[(f"backbone_{block}_conv3", f"backbone_{block}_shortcut") for block in ("c2a", "c3a", "c4a", "c5a")],
    ("neck_s16_lateral", "neck_s32_lateral_norm"),
    ("neck_s8_lateral", "neck_s16_fuse_norm"),
    ("neck_s4_lateral", "neck_s8_fuse_norm"),
]:
    _index = OTHER_BODY.index(_first)
    OTHER_BODY[_index : _index + 2] = [_second, _first]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """A random value for each of our variables."""
    rng = np.random.default_rng(0)
    weights = build_detector(_settings()).network.weights
    return {weight.path: rng.normal(size=weight.shape).astype("float32") for weight in weights}


def _old_model(arrays: Arrays, body: list[str] = BODY) -> dict[str, Any]:
    """The attributes of an old model that holds the arrays."""

    def layer(name: str) -> Arrays:
        return {path.rpartition("/")[2]: value for path, value in arrays.items() if path.startswith(f"{name}/")}

    def numbered(names: list[str]) -> dict[str, Arrays]:
        return {f"layer_with_weights-{index}": layer(name) for index, name in enumerate(names)}

    tower = [f"{kind}{index}" for index in range(4) for kind in ("conv", "norm")]
    return {
        "FPN": numbered(body),
        "cls_tower": numbered([f"head_class_{name}" for name in tower]),
        "reg_tower": numbered([f"head_box_{name}" for name in tower]),
        "cls_head": layer("head_class_logits"),
        "reg_head": layer("head_distances"),
        "ctr_head": layer("head_quality_logits"),
        "scale": {str(i): arrays[f"head_s{stride}_exp/scale"] for i, stride in enumerate((4, 8, 16, 32))},
    }


def _write(tree: dict[str, Any], path: Path) -> Path:
    def trackable(node: Any) -> Any:
        if isinstance(node, dict):
            return tf.train.Checkpoint(**{name: trackable(child) for name, child in node.items()})
        return tf.Variable(node)

    trackable(tree).write(str(path))
    return path


def _assert_same(network: Any, arrays: Arrays) -> None:
    assert {weight.path for weight in network.weights} == arrays.keys()
    for weight in network.weights:
        np.testing.assert_array_equal(np.asarray(weight), arrays[weight.path], err_msg=weight.path)


def test_every_variable_lands_where_it_belongs_and_is_saved(arrays: Arrays, tmp_path: Path) -> None:
    checkpoint = _write(_old_model(arrays), tmp_path / "model")
    detector = import_checkpoint(checkpoint, tmp_path / "new.npz", _settings())
    _assert_same(detector.network, arrays)
    loaded, header = load_detector(tmp_path / "new.npz")
    _assert_same(loaded.network, arrays)
    assert header["imported_from"] == "model"


def test_optimizer_state_and_other_names_do_not_matter(arrays: Arrays, tmp_path: Path) -> None:
    old = _old_model(arrays)
    model = {
        "backbone": old["FPN"],
        "classification_subnet": old["cls_tower"],
        "bbox_subnet": old["reg_tower"],
        "Classification": old["cls_head"],
        "Regression": old["reg_head"],
        "Centerness": old["ctr_head"],
        "scales": old["scale"],
    }
    optimizer = {"_variables": {str(i): np.float32(i) for i in range(4)}, "_iterations": np.int64(7)}
    checkpoint = _write({"model": model, "optimizer": optimizer}, tmp_path / "model.v1")
    _assert_same(import_checkpoint(checkpoint.with_name("model.v1.index"), settings=_settings()).network, arrays)


def test_the_order_of_operands_in_additions_does_not_matter(arrays: Arrays, tmp_path: Path) -> None:
    checkpoint = _write(_old_model(arrays, OTHER_BODY), tmp_path / "model")
    _assert_same(import_checkpoint(checkpoint, settings=_settings()).network, arrays)


def _drop_layer(model: dict[str, Any]) -> None:
    del model["FPN"]["layer_with_weights-40"]


def _drop_variable(model: dict[str, Any]) -> None:
    del model["cls_tower"]["layer_with_weights-3"]["beta"]


def _drop_tower(model: dict[str, Any]) -> None:
    del model["reg_tower"]


def _double_tower(model: dict[str, Any]) -> None:
    model["ema_cls_tower"] = model["cls_tower"]


def _transpose(model: dict[str, Any]) -> None:
    layer = model["FPN"]["layer_with_weights-11"]
    layer["kernel"] = np.swapaxes(layer["kernel"], 2, 3)


@pytest.mark.parametrize("damage", [_drop_layer, _drop_variable, _drop_tower, _double_tower, _transpose])
def test_a_checkpoint_of_another_model_is_refused(
    damage: Callable[[dict[str, Any]], None], arrays: Arrays, tmp_path: Path
) -> None:
    model = _old_model(arrays)
    damage(model)
    checkpoint = _write(model, tmp_path / "model")
    with pytest.raises(WeightsError) as caught:
        import_checkpoint(checkpoint, tmp_path / "new.npz", _settings())
    assert caught.value.hint
    assert not (tmp_path / "new.npz").exists()


@pytest.mark.parametrize("model", [{"classes": ("cat", "dog")}, {"preset": "r50", "image_size": 128}])
def test_settings_of_another_model_are_refused(model: dict[str, Any], arrays: Arrays, tmp_path: Path) -> None:
    checkpoint = _write(_old_model(arrays), tmp_path / "model")
    with pytest.raises(WeightsError):
        import_checkpoint(checkpoint, settings=_settings(**model))


def test_what_is_no_checkpoint_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    _write({"x": np.float32(1)}, tmp_path / "foreign")
    _write(_old_model(arrays), tmp_path / "torn")
    (tmp_path / "torn.data-00000-of-00001").unlink()
    (tmp_path / "text.index").write_text("not a checkpoint")
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty", "text", "torn", "foreign"):
        with pytest.raises(WeightsError, match=name):
            import_checkpoint(tmp_path / name, settings=_settings())


def _masked_crc32c(data: bytes) -> bytes:
    """As TensorFlow stores it: Castagnoli's CRC, rotated and shifted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")


def test_a_checkpoint_that_declares_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    _write({"cls_head": {"bias": np.zeros(8, "float32")}}, tmp_path / "large")
    path = tmp_path / "large.index"
    data = bytearray(path.read_bytes())
    dimension = data.index(b"\x12\x04\x12\x02\x08\x08") + 5  # shape: one dimension, of 8
    data[dimension] = 127
    whole = path.read_bytes()
    end = next(i for i in range(dimension, len(data)) if whole[i : i + 4] == _masked_crc32c(whole[:i]))
    data[end : end + 4] = _masked_crc32c(bytes(data[:end]))
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="more than it holds"):
        import_checkpoint(tmp_path / "large", settings=_settings())


def test_a_damaged_index_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    _write(_old_model(arrays), tmp_path / "damaged")
    path = tmp_path / "damaged.index"
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(WeightsError):
            import_checkpoint(tmp_path / "damaged", settings=_settings())


def test_a_variable_of_another_type_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    model = _old_model(arrays)
    model["ctr_head"]["bias"] = np.array(["x"])
    with pytest.raises(WeightsError, match="bias"):
        import_checkpoint(_write(model, tmp_path / "text"), settings=_settings())


def test_the_package_offers_the_importer_without_importing_keras() -> None:
    assert fcoslite.models.import_checkpoint is import_checkpoint
    code = "import sys, fcoslite.models; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
