"""Exports, each loaded by ONNX Runtime alone and compared with Keras on real photographs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from fcoslite.config.settings import DetectSettings, ModelSettings
from fcoslite.data.images import read_image
from fcoslite.errors import ConfigError, DataError, FcosliteError, SourceError, WeightsError
from fcoslite.evaluation import export_detector as exporting
from fcoslite.evaluation.export_detector import ExportPlan, export_detector, places_of
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes.onnx import OnnxRuntime
from fcoslite.inference.runtimes.open import open_runtime
from fcoslite.models.detector import build_detector
from fcoslite.models.weights import save_weights
from fcoslite.runs.find_weights import packaged_weights

SIZE = 192  # faster, and still finds people
LITE0 = packaged_weights()["lite0"]


@pytest.fixture
def pixels(demo_data: Path) -> np.ndarray:
    return read_image(demo_data / "images" / "000000000165.jpg")


def test_another_size_for_any_number_of_images(tmp_path: Path, pixels: np.ndarray, demo_data: Path) -> None:
    plan = ExportPlan(LITE0, tmp_path / "deep" / "x.onnx", image_size=SIZE, batch=None, check=demo_data)
    result = export_detector(plan)
    assert result.compared == 8
    assert result.box_difference < 0.01 and result.score_difference < 1e-4
    assert result.ap_before == result.ap_after is not None and result.ap_after > 0.3
    assert result.size_bytes == result.out.stat().st_size
    runtime = open_runtime(result.out)
    assert isinstance(runtime, OnnxRuntime) and runtime.image_size == SIZE
    assert len(Predictor(runtime, DetectSettings(score=0.3)).predict(pixels)) >= 2

    session = onnxruntime.InferenceSession(str(result.out))
    one = Letterbox.square(*pixels.shape[:2], SIZE).apply_image(pixels)
    boxes, scores = session.run(["boxes", "scores"], {"images": np.stack([one, one[:, ::-1], one])})
    assert boxes.shape[0] == scores.shape[0] == 3
    np.testing.assert_allclose(boxes[[0]], runtime(one[None]).boxes_xyxy, atol=1e-3)
    np.testing.assert_array_equal(boxes[0], boxes[2])


def test_data_without_a_box_shows_no_loss(slim_weights: Path, demo_data: Path, tmp_path: Path) -> None:
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    (tmp_path / "annotations.json").write_text(json.dumps(document | {"annotations": []}))
    shutil.copytree(demo_data / "images", tmp_path / "images")
    with pytest.raises(DataError, match="no box to score on"):
        export_detector(ExportPlan(slim_weights, tmp_path / "x.onnx", image_size=64, check=tmp_path))
    assert not (tmp_path / "x.onnx").exists()


def test_int8_is_a_third_and_loses_little(tmp_path: Path) -> None:
    result = export_detector(ExportPlan(LITE0, tmp_path / "x.onnx", "onnx", "int8", image_size=SIZE, batch=2))
    assert result.size_bytes < 5e6
    assert result.ap_before is not None and result.ap_after is not None
    assert result.ap_before > 0.3
    assert result.ap_after > result.ap_before - 0.01
    black = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    on_onnx, on_openvino = (open_runtime(result.out, engine)(black) for engine in ("onnx", "openvino"))
    assert on_onnx.scores.shape[0] == on_openvino.scores.shape[0] == 1
    np.testing.assert_allclose(on_openvino.scores, on_onnx.scores, atol=0.02)


def test_a_saved_model(slim_weights: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    import tensorflow as tf

    plan = ExportPlan(slim_weights, tmp_path / "served", "saved-model", image_size=64, batch=None)
    result = export_detector(plan)
    assert result.box_difference < 0.01 and result.score_difference < 1e-4
    assert export_detector(plan).size_bytes > slim_weights.stat().st_size  # over the first
    assert [path.name for path in tmp_path.iterdir()] == ["served"]
    facts = json.loads((plan.out / "assets.extra" / "fcoslite.json").read_text())
    assert (facts["classes"], facts["image_size"], facts["batch"]) == (["person"], 64, None)
    served = tf.saved_model.load(str(plan.out)).signatures["serving_default"]
    two = np.stack([Letterbox.square(*pixels.shape[:2], 64).apply_image(pixels)] * 2)
    boxes = served(images=tf.constant(two))["boxes"]
    assert boxes.shape[0] == 2
    np.testing.assert_allclose(boxes[0], boxes[1], atol=1e-3)  # on some processors not to the bit
    for wrong in (replace(plan, nms=True), replace(plan, precision="int8")):
        with pytest.raises(ConfigError, match="float32 and has no NMS"):
            export_detector(wrong)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is done already: the model is the packaged file."""
    model = onnx.load(str(LITE0.with_suffix(".onnx")))
    monkeypatch.setattr("fcoslite.export.onnx.to_onnx", lambda detector, facts: model)
    monkeypatch.setattr("fcoslite.export.int8.to_int8", lambda model, facts, images: model)
    monkeypatch.setattr("fcoslite.inference.runtimes.keras.KerasRuntime", lambda detector: None)
    monkeypatch.setattr(exporting, "_differences", lambda *runtimes_and_images: (0.0, 0.0))


def test_all_parts_of_an_export_are_its_own(tmp_path: Path, quick: None) -> None:
    plan = ExportPlan(LITE0, tmp_path / "X.XML", "openvino", image_size=64)
    assert places_of(plan) == [tmp_path / "X.XML", tmp_path / "X.bin"]
    export_detector(plan)
    export_detector(replace(plan, out=tmp_path / "Y.ONNX", format="onnx"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["X.XML", "X.bin", "Y.ONNX"]


def test_for_openvino(tmp_path: Path, quick: None, pixels: np.ndarray) -> None:
    result = export_detector(ExportPlan(LITE0, tmp_path / "x.xml", "openvino", "float16"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.bin", "x.xml"]
    assert result.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir()) < 8.5e6
    assert len(Predictor(open_runtime(result.out), DetectSettings(score=0.3)).predict(pixels)) >= 2
    with_nms = export_detector(ExportPlan(LITE0, tmp_path / "n.xml", "openvino", nms=True))
    with pytest.raises(WeightsError) as raised:
        open_runtime(with_nms.out)
    assert "--nms" in raised.value.hint


def test_int8_that_loses_too_much_is_not_written(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = [0.5, 0.489, 0.5, 0.491]
    monkeypatch.setattr(exporting, "_average_precision", lambda *others: figures.pop(0))
    plan = ExportPlan(LITE0, tmp_path / "x.onnx", "onnx", "int8")
    with pytest.raises(FcosliteError, match=r"AP 0\.500 became 0\.489"):
        export_detector(plan)
    assert list(tmp_path.iterdir()) == []
    assert export_detector(plan).ap_after == 0.491


def test_wrong_input_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcoslite.export.onnx.to_onnx", None)
    plan = ExportPlan(LITE0, tmp_path / "x.onnx", "onnx", "int8", image_size=64)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no image in"):
        export_detector(replace(plan, calibrate=tmp_path / "empty"))
    with pytest.raises(DataError, match="no folder of photographs"):
        export_detector(replace(plan, calibrate=tmp_path / "nowhere"))
    helmets = ModelSettings(preset="lite0", strides=(8,), image_size=96, classes=("helmet",), head_depth=0)
    save_weights(build_detector(helmets), tmp_path / "helmets.npz")
    with pytest.raises(ConfigError, match="not labelled with helmet") as caught:
        export_detector(replace(plan, weights=tmp_path / "helmets.npz"))
    assert "--check" in caught.value.hint
    with pytest.raises(ConfigError, match="no multiple of the largest stride"):
        export_detector(replace(plan, image_size=100))
    with pytest.raises(DataError, match="is a folder"):
        export_detector(replace(plan, out=tmp_path / "empty"))
    cut = tmp_path / "cut.npz"
    cut.write_bytes(LITE0.read_bytes()[:10_000])
    with pytest.raises(WeightsError):
        export_detector(replace(plan, weights=cut))
    only_broken = tmp_path / "broken"
    only_broken.mkdir()
    (only_broken / "x.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="can be read"):
        export_detector(replace(plan, calibrate=only_broken))
    assert not (tmp_path / "x.onnx").exists()
