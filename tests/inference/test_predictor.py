import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fcoslite.config.load import load_settings
from fcoslite.config.settings import DetectSettings, Settings
from fcoslite.data.images import read_image
from fcoslite.errors import WeightsError
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes.open import Engine
from fcoslite.machine.threads import map_in_order
from fcoslite.runs.find_weights import config_of, packaged_weights
from fcoslite.runs.run import create_run

SETTINGS = DetectSettings(score=0.05, iou=0.5)


@pytest.mark.parametrize("engine", ["keras", "onnx"])
def test_images_at_a_time_give_what_each_gives_alone(demo_data: Path, engine: Engine) -> None:
    predictor = Predictor.load(packaged_weights()["lite0"], SETTINGS, engine, many=True)
    pixels = [read_image(path) for path in sorted((demo_data / "images").glob("*.jpg"))[:6]]
    alone = [predictor.predict(image) for image in pixels]
    together = list(map_in_order(predictor.predict, pixels * 4, max(2, predictor.at_once), ahead=1))
    for found, expected in zip(together, alone * 4, strict=True):
        np.testing.assert_array_equal(found.boxes_xyxy, expected.boxes_xyxy)
        np.testing.assert_array_equal(found.scores, expected.scores)


def test_packaged_weights_are_loaded_by_name_with_the_thresholds_they_bring() -> None:
    loaded = Predictor.load("lite0")
    assert loaded.settings == load_settings(config_of(packaged_weights()["lite0"])).webcam
    assert loaded.class_names == ("person",)
    assert Predictor.load("lite0", SETTINGS).settings == SETTINGS


def test_a_run_and_a_file_are_loaded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = packaged_weights()["lite0"]
    run = create_run(Path("runs"), "train", "x", load_settings(config_of(path), ["webcam.score=0.77"]), {})
    shutil.copy(path, run.best_weights)
    shutil.copy(path, "mine.npz")
    for copy in (run.best_weights, Path("mine.npz")):
        shutil.copy(path.with_suffix(".onnx"), copy.with_suffix(".onnx"))
    for words in (run.name, str(run.path), run.best_weights):
        assert Predictor.load(words).settings.score == 0.77
    for words in ("mine.npz", Path("mine.npz")):
        assert Predictor.load(words).settings == Settings().webcam  # there is no config beside it


def test_detection_imports_neither_keras_nor_tensorflow(demo_data: Path) -> None:
    program = """
import sys
from fcoslite import Detector
found = Detector("lite0").detect(sys.argv[1])
print(len(found), [name for name in ("tensorflow", "keras", "jax", "onnx", "mlflow") if name in sys.modules])
"""
    photograph = sorted((demo_data / "images").glob("*.jpg"))[1]
    done = subprocess.run([sys.executable, "-c", program, str(photograph)], capture_output=True, text=True)
    assert done.stdout.split(maxsplit=1)[1:] == ["[]\n"], done.stderr


@pytest.mark.parametrize("name", ["lite00", "nowhere.npz"])
def test_weights_that_are_not_there(name: str) -> None:
    with pytest.raises(WeightsError, match=name):
        Predictor.load(name)
