"""The weights that ship: whole, small, loadable, and as good as they were when they were stored."""

import hashlib
import json
from pathlib import Path

import pytest

from fcoslite.config.load import load_settings
from fcoslite.config.settings import DetectSettings
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import read_image
from fcoslite.data.sources.folder import FolderSource
from fcoslite.evaluation.predictor_evaluator import PredictorEvaluator
from fcoslite.inference.predictor import Predictor
from fcoslite.runs.find_weights import DEFAULT_WEIGHTS, config_of, find_weights, packaged_weights

NAMES = sorted(packaged_weights())


def facts(name: str) -> dict:
    return json.loads(packaged_weights()[name].with_suffix(".json").read_text("utf-8"))


def test_they_are_there_and_small():  # PyPI takes 100 MB
    assert DEFAULT_WEIGHTS in NAMES
    folder = packaged_weights()[DEFAULT_WEIGHTS].parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 35e6


def test_they_are_found_by_name_before_any_run_is_trained(tmp_path):
    assert find_weights(None, tmp_path) == packaged_weights()[DEFAULT_WEIGHTS]
    for name in NAMES:
        assert find_weights(name, tmp_path) == packaged_weights()[name]


@pytest.mark.parametrize("name", NAMES)
def test_they_are_what_was_stored(name):
    path = packaged_weights()[name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == facts(name)["sha256"]
    assert len(facts(name)["training_images"]) > 1000


@pytest.mark.parametrize("name", NAMES)
def test_they_keep_their_ap(name, demo_data: Path):
    path = packaged_weights()[name]
    predictor = Predictor.load(path, load_settings(config_of(path)).evaluate)
    dataset = read_coco(demo_data / "annotations.json", demo_data / "images", predictor.class_names)
    source = FolderSource(dataset, dataset.images, predictor.image_size, workers=2)
    metrics = PredictorEvaluator(predictor).run(source, batch_size=1).metrics
    for key in ("ap", "ap50"):
        assert metrics[key] == pytest.approx(facts(name)["embedded"][key], abs=0.01), key


def test_the_default_finds_the_people_on_a_photograph(demo_data: Path):
    path = packaged_weights()[DEFAULT_WEIGHTS]
    predictor = Predictor.load(path, DetectSettings(score=0.3, iou=0.5))
    dataset = read_coco(demo_data / "annotations.json", demo_data / "images", predictor.class_names)
    # the photograph with the largest person
    image = max(dataset.images, key=lambda image: max([0.0, *image.areas[~image.iscrowd]]))
    found = predictor.predict(read_image(dataset.folder / image.file_name))
    assert len(found.scores) >= 1
