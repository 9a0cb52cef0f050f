"""The packaged weights on every engine, and the ONNX copy of others."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from fcoslite.config.load import load_settings
from fcoslite.config.settings import DetectSettings, ModelSettings
from fcoslite.data.images import read_image
from fcoslite.errors import ConfigError, FcosliteError, WeightsError
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.about import about
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes import onnx_copy as copying
from fcoslite.inference.runtimes.onnx import OnnxRuntime
from fcoslite.inference.runtimes.onnx_copy import onnx_copy
from fcoslite.inference.runtimes.open import open_runtime, parse_engine
from fcoslite.inference.runtimes.openvino import write_openvino
from fcoslite.machine.threads import map_in_order
from fcoslite.models.detector import build_detector
from fcoslite.models.facts import KEY, ExportFacts
from fcoslite.models.weights import save_weights
from fcoslite.runs.find_weights import packaged_weights
from fcoslite.storage.files import file_digest

NAMES = sorted(packaged_weights())


@pytest.mark.parametrize("name", NAMES)
def test_both_files_of_packaged_weights_say_the_same(name: str, demo_data: Path) -> None:
    weights = packaged_weights()[name]
    on_onnx, on_keras = (open_runtime(weights, engine) for engine in ("onnx", "keras"))
    assert "ONNX" in on_onnx.device and "Keras" in on_keras.device
    compared = 0
    for path in sorted((demo_data / "images").glob("*.jpg"))[:4]:
        pixels = read_image(path)
        letterboxed = Letterbox.square(*pixels.shape[:2], on_onnx.image_size).apply_image(pixels)[None]
        found, expected = on_onnx(letterboxed), on_keras(letterboxed)
        # weights are rounded to 11 bits
        np.testing.assert_allclose(found.scores, expected.scores, atol=0.01)
        seen = expected.scores.max(axis=-1) > 0.1
        np.testing.assert_allclose(found.boxes_xyxy[seen], expected.boxes_xyxy[seen], atol=1.5)
        compared += int(seen.sum())
    assert compared > 50


@pytest.mark.parametrize("name", NAMES)
def test_the_packaged_copies_are_up_to_date(name: str) -> None:
    weights = packaged_weights()[name]
    runtime = open_runtime(weights)
    assert isinstance(runtime, OnnxRuntime)
    assert runtime.facts.weights_sha256 == file_digest(weights)
    settings = load_settings(weights.with_suffix(".yaml"))
    assert (runtime.facts.evaluate, runtime.facts.webcam) == (settings.evaluate, settings.webcam)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of two classes, and a config beside them."""
    path = tmp_path_factory.mktemp("small") / "small.npz"
    settings = ModelSettings(preset="lite0", strides=(8, 16), image_size=64, classes=("cat", "dog"), head_depth=0)
    save_weights(build_detector(settings, seed=1), path)
    path.with_suffix(".yaml").write_text("webcam: {score: 0.6}")
    onnx_copy(path)
    return path


def test_openvino_runs_the_same_files(small: Path, tmp_path: Path, demo_data: Path) -> None:
    pytest.importorskip("openvino")
    weights = packaged_weights()["lite0"]
    ours, theirs = (Predictor.load(weights, DetectSettings(score=0.3), engine) for engine in ("onnx", "openvino"))
    assert "OpenVINO" in theirs.device
    pixels = [read_image(path) for path in sorted((demo_data / "images").glob("*.jpg"))[:6]]
    for image in pixels:
        found, expected = theirs.predict(image), ours.predict(image)
        np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=0.01)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    many = Predictor.load(weights, DetectSettings(score=0.3), "openvino", many=True)
    together = list(map_in_order(many.predict, pixels * 3, max(2, many.at_once), ahead=1))
    for found, image in zip(together, pixels * 3, strict=True):
        np.testing.assert_allclose(found.scores, theirs.predict(image).scores, atol=1e-4)

    path = tmp_path / "small.xml"
    write_openvino(small.with_suffix(".onnx"), path, half=True)
    runtime = open_runtime(path)
    assert (runtime.class_names, runtime.image_size) == (("cat", "dog"), 64)
    assert about(path).settings.webcam.score == 0.6
    with pytest.raises(ConfigError, match="does not run on onnx"):
        open_runtime(path, "onnx")
    for part in (path.with_suffix(".bin"), path):
        part.write_bytes(part.read_bytes()[:1000])
        with pytest.raises(WeightsError, match=r"small\.xml"):
            open_runtime(path)


def test_ctrl_c_is_heard_after_openvino(small: Path) -> None:
    """It has a stack for signals, which two of its cores would free and put back in the wrong order."""
    program = """
import os, signal, sys
from pathlib import Path
from fcoslite.inference.runtimes.open import open_runtime
for _ in range(3):
    open_runtime(Path(sys.argv[1]), "openvino")
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
os.kill(os.getpid(), signal.SIGINT)
print(heard)
"""
    command = [sys.executable, "-c", program, str(small.with_suffix(".onnx"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[1]\n"), done.stderr


def test_openvino_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(FcosliteError, match="openvino is not installed") as raised:
        open_runtime(packaged_weights()["lite0"], "openvino")
    assert "fcoslite[openvino]" in raised.value.hint


def test_weights_are_copied_once_exactly_and_anew_when_they_change(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    ours, theirs = open_runtime(small, "onnx"), open_runtime(small, "keras")
    assert (ours.class_names, ours.image_size) == (theirs.class_names, theirs.image_size) == (("cat", "dog"), 64)
    dense, expected = ours(images), theirs(images)
    np.testing.assert_allclose(dense.boxes_xyxy, expected.boxes_xyxy, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(dense.scores, expected.scores, atol=1e-5)

    weights = Path(shutil.copy(small, tmp_path / "w.npz"))
    shutil.copy(small.with_suffix(".onnx"), tmp_path / "w.onnx")
    written = []
    monkeypatch.setattr(copying, "write_onnx", lambda *arguments: written.append(arguments))
    assert onnx_copy(weights) == tmp_path / "w.onnx"
    assert written == []
    weights.write_bytes(weights.read_bytes() + b" ")
    onnx_copy(weights)
    assert written == [(weights, tmp_path / "w.onnx", "float32")]


def test_an_exported_file_stands_alone(small: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(small.with_suffix(".onnx"), tmp_path / "alone.onnx"))
    known = about(path, ["evaluate.score=0.123"])
    assert (known.class_names, known.image_size) == (("cat", "dog"), 64)
    assert known.settings.webcam.score == 0.6
    assert known.settings.evaluate.score == 0.123
    assert Predictor.load(path).class_names == ("cat", "dog")


def test_a_file_of_that_name_that_is_not_ours_is_left_alone(small: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(small, tmp_path / "w.npz"))
    other = tmp_path / "w.onnx"
    other.write_bytes(b"something dear")
    with pytest.raises(FcosliteError, match=r"w\.onnx is not the ONNX copy"):
        open_runtime(weights, "onnx")
    assert "Keras" in open_runtime(weights).device
    assert other.read_bytes() == b"something dear"


def _with_facts(small: Path, path: Path, **changes: object) -> Path:
    model = onnx.load(str(small.with_suffix(".onnx")))
    facts = ExportFacts.model_validate_json(model.metadata_props[0].value)
    model.metadata_props[0].value = facts.model_copy(update=changes).model_dump_json()
    onnx.save(model, str(path))
    return path


def test_an_export_of_a_fixed_size_is_not_replaced(small: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(small, tmp_path / "w.npz"))
    path = _with_facts(small, tmp_path / "w.onnx", step=None)
    before = path.read_bytes()
    with pytest.raises(FcosliteError, match="another kind"):
        onnx_copy(weights)
    assert path.read_bytes() == before


def test_a_copy_of_lower_precision_is_used_only_when_it_is_named(small: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(small, tmp_path / "w.npz"))
    path = _with_facts(small, tmp_path / "w.onnx", precision="int8")
    with pytest.raises(FcosliteError, match="another kind"):
        onnx_copy(weights)
    assert isinstance(open_runtime(path), OnnxRuntime)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 2}, "format"),
        ({"step": None}, "input and outputs"),
        ({"image_size": 100}, "multiple of step"),
        ({"classes": ("cat",)}, "input and outputs"),
        ({"classes": ()}, "classes"),
        ({"pad": 0}, "pad"),
    ],
)
def test_facts_that_cannot_be(small: Path, tmp_path: Path, change: dict[str, object], told: str) -> None:
    path = _with_facts(small, tmp_path / "w.onnx", **change)
    with pytest.raises(WeightsError, match=told):
        open_runtime(path)


def test_a_file_of_another_project(small: Path, tmp_path: Path) -> None:
    model = onnx.load(str(small.with_suffix(".onnx")))
    for props in ([], [("other", "x")], [(KEY, "{")], [(KEY, "x" * 200_000)]):
        onnx.helper.set_model_props(model, dict(props))
        onnx.save(model, str(tmp_path / "w.onnx"))
        with pytest.raises(WeightsError, match=r"w\.onnx"):
            open_runtime(tmp_path / "w.onnx")


def test_engines_that_do_not_fit(small: Path) -> None:
    with pytest.raises(ConfigError, match="does not run on keras"):
        open_runtime(small.with_suffix(".onnx"), "keras")
    with pytest.raises(ConfigError, match="no engine") as raised:
        parse_engine("onnxx")
    assert "onnx" in (raised.value.hint or "")
    with pytest.raises(WeightsError, match="no weights"):
        open_runtime(small.with_name("nowhere.npz"))


def test_keras_takes_over_where_no_copy_can_be_made(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    weights = Path(shutil.copy(small, tmp_path / "w.npz"))

    def refuse(*arguments: object) -> None:
        raise FcosliteError("to write ONNX files the packages are needed")

    monkeypatch.setattr(copying, "write_onnx", refuse)
    monkeypatch.setattr(logging.getLogger("fcoslite"), "propagate", True)
    with caplog.at_level(logging.INFO):
        assert "Keras" in open_runtime(weights).device
    assert "Keras runs it" in caplog.text
    with pytest.raises(FcosliteError, match="packages"):
        open_runtime(weights, "onnx")
