import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from fcoslite.config.settings import ModelSettings
from fcoslite.errors import ConfigError, FcosliteError, WeightsError
from fcoslite.evaluation.export_detector import ExportPlan, export_detector
from fcoslite.fcos.decode import decode
from fcoslite.fcos.locations import locations_of
from fcoslite.inference.about import about
from fcoslite.inference.runtimes.litert import LiteRtRuntime, decode_arrays, read_litert_facts
from fcoslite.inference.runtimes.open import open_runtime
from fcoslite.machine.threads import map_in_order
from fcoslite.models.detector import build_detector
from fcoslite.models.facts import FACTS_FILE
from fcoslite.models.weights import save_weights

pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("litert") / "small.npz"
    settings = ModelSettings(preset="lite0", strides=(8, 16), image_size=64, classes=("cat", "dog"), head_depth=0)
    save_weights(build_detector(settings, seed=1), path)
    return path


@pytest.fixture(scope="module")
def file(weights: Path) -> Path:
    return export_detector(ExportPlan(weights, weights.with_suffix(".tflite"), "litert")).out


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 1, 64, 64, 3)).astype(np.uint8))


def test_it_says_what_keras_says(weights: Path, file: Path) -> None:
    ours, keras = open_runtime(file), open_runtime(weights, "keras")
    assert isinstance(ours, LiteRtRuntime) and "LiteRT" in ours.device
    assert (ours.class_names, ours.image_size) == (keras.class_names, keras.image_size)
    many = open_runtime(file, many=True)
    together = list(map_in_order(many, pictures(6), max(2, many.at_once), ahead=1))
    for images, again in zip(pictures(6), together, strict=True):
        dense, expected = ours(images), keras(images)
        np.testing.assert_allclose(dense.boxes_xyxy, expected.boxes_xyxy, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(dense.scores, expected.scores, atol=1e-5)
        np.testing.assert_array_equal(dense.boxes_xyxy, again.boxes_xyxy)
    assert about(file).class_names == ("cat", "dog")


def test_int8_gives_the_networks_own_outputs(weights: Path, tmp_path: Path) -> None:
    result = export_detector(ExportPlan(weights, tmp_path / "x.tflite", "litert", "int8", batch=2))
    assert result.ap_after is not None
    facts = read_litert_facts(result.out)
    assert (facts.decoded, facts.precision, facts.strides) == (False, "int8", (8, 16))
    dense = open_runtime(result.out)(pictures(1)[0])
    assert dense.boxes_xyxy.shape == (1, 80, 4) and dense.scores.shape == (1, 80, 2)
    assert (dense.scores >= 0).all() and (dense.scores <= 1).all()


def test_decoding_in_numpy_is_decoding_in_keras(file: Path) -> None:
    facts = read_litert_facts(file)
    rng = np.random.default_rng(0)
    outputs = {
        "class_logits": rng.normal(0, 30, (1, 80, 2)).astype(np.float32),
        "distances": rng.uniform(0, 9, (1, 80, 4)).astype(np.float32),
        "quality_logits": rng.normal(0, 3, (1, 80, 1)).astype(np.float32),
    }
    for given in (outputs, {name: outputs[name] for name in ("class_logits", "distances")}):
        locations = locations_of(64, facts.strides)
        expected = decode(given, locations.points, locations.strides[:, None])
        with np.errstate(all="raise", under="ignore"):
            dense = decode_arrays(given, facts)
        np.testing.assert_allclose(dense.boxes_xyxy, ops.convert_to_numpy(expected["boxes"]), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(dense.scores, ops.convert_to_numpy(expected["scores"]), atol=1e-6)


def test_what_cannot_be(weights: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="fixed batch and no NMS"):
        export_detector(ExportPlan(weights, tmp_path / "x.tflite", "litert", nms=True))
    with pytest.raises(ConfigError, match="does not run on litert") as raised:
        open_runtime(weights, "litert")
    assert "--format litert" in raised.value.hint
    with pytest.raises(ConfigError, match="does not run on onnx"):
        open_runtime(file, "onnx")
    cut = tmp_path / "cut.tflite"
    for content in (file.read_bytes()[:5000], b"", b"no file"):
        cut.write_bytes(content)
        with pytest.raises(WeightsError, match=r"cut\.tflite"):
            open_runtime(cut)
    facts = json.loads(read_litert_facts(file).model_dump_json())
    for content, document in ((b"TFL3" * 100, facts), (file.read_bytes()[:-1000], facts | {"image_size": 128})):
        cut.write_bytes(content)
        with zipfile.ZipFile(cut, "a") as appended:
            appended.writestr(FACTS_FILE, json.dumps(document))
        with pytest.raises(WeightsError, match=r"cut\.tflite"):
            open_runtime(cut)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(FcosliteError, match="not installed") as missing:
        open_runtime(file)
    assert "fcoslite[litert]" in missing.value.hint
