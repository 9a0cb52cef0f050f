"""`fcoslite eval` on embedded photographs, by day and under conditions."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.cli.app import run
from fcoslite.data.extract.extract import extract
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.records.build import build_records
from fcoslite.data.sources.folder import FolderSource
from fcoslite.evaluation.conditions import CONDITIONS
from fcoslite.evaluation.export_detector import ExportPlan, export_detector
from fcoslite.evaluation.predictor_evaluator import PredictorEvaluator
from fcoslite.inference.about import about
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes.keras import KerasRuntime
from fcoslite.models.weights import load_detector
from fcoslite.runs.find_weights import find_weights


@pytest.fixture
def few(demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags for four of the photographs."""
    monkeypatch.chdir(tmp_path)
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    document["images"] = document["images"][:4]
    kept = {image["id"] for image in document["images"]}
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] in kept]
    Path("few.json").write_text(json.dumps(document))
    return ["--weights", "lite0", "--annotations", "few.json", "--images", str(demo_data / "images"), "--out", "scores"]


def test_conditions_in_figures_and_on_a_sheet(few: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "--conditions", "--dry-run", "--json", *few]) == 0
    assert json.loads(capsys.readouterr().out)["conditions"] == list(CONDITIONS)
    assert run(["eval", "--dry-run", "--json", *few]) == 0
    assert "conditions" not in json.loads(capsys.readouterr().out)
    assert run(["eval", "--conditions", *few]) == 0
    shown = capsys.readouterr().out
    document = json.loads(Path("scores/metrics.json").read_text("utf-8"))
    conditions = document["conditions"]
    assert list(conditions) == ["day", *CONDITIONS, "mean"]
    day = conditions["day"]
    assert day == {"ap": document["metrics"]["ap"], "ap50": document["metrics"]["ap50"], "share": 1.0}
    assert day["ap"] > 0.1
    for name in CONDITIONS:
        assert 0 < conditions[name]["ap"] <= conditions[name]["ap50"] <= 1
        assert conditions[name]["share"] == pytest.approx(conditions[name]["ap"] / day["ap"])
        assert f"{name} " in shown
    shares = [conditions[name]["share"] for name in CONDITIONS]
    assert len(set(shares)) > 4
    assert conditions["mean"]["share"] == pytest.approx(np.mean(shares))
    assert f"{np.mean(shares):.4f}" in shown
    assert cv2.imread("scores/conditions.png").std() > 20


def test_where_there_is_nothing_to_find_there_is_no_figure(few: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(Path("few.json").read_text("utf-8"))
    image = document["images"][0]["id"]
    box = {"id": 1, "image_id": image, "category_id": document["categories"][0]["id"], "iscrowd": 0}
    box |= {"bbox": [10, 10, 200, 150], "area": 30_000}
    for annotations, has in (([box], {"ap", "ap50", "ap_large", "ar_large", "ap75_per_image"}), ([], set())):
        Path("few.json").write_text(json.dumps(document | {"annotations": annotations}))
        assert run(["eval", "--conditions", "--set", "evaluate.score=0.999", *few]) == 0
        shown = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.count(" "))
        written = json.loads(Path("scores/metrics.json").read_text("utf-8"))
        for name in ("ap", "ap50", "ap_small", "ap_large", "ar_small", "ar_large", "ap75_per_image"):
            assert written["metrics"][name] == (0 if name in has else -1)
            assert shown[name] == ("0.0000" if name in has else "none")
        assert shown["night"] == shown["mean"] == ("0.0000" if has else "none")
        figure = 0 if has else -1
        assert written["conditions"]["mean"] == {"ap": figure, "ap50": figure, "share": -1}
        assert cv2.imread("scores/sizes.png") is not None and cv2.imread("scores/precision_recall.png") is not None


def test_conditions_of_records(
    demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    extract(demo_data / "annotations.json", demo_data / "images", tmp_path / "data", limit=3)
    build_records(tmp_path / "data", tmp_path / "records", image_size=384)
    every = ["--set", "data.validation_records=0", "--out", "scores"]
    assert run(["eval", "--weights", "lite0", "--conditions", "--json", *every]) == 0
    assert list(json.loads(capsys.readouterr().out)["conditions"]) == ["day", *CONDITIONS, "mean"]
    assert cv2.imread("scores/conditions.png").std() > 20


def test_a_size_that_is_asked_for_is_that_of_the_detector(few: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for engine in ("onnx", "keras"):
        flags = ["--set", "model.image_size=320", "--engine", engine, "--json", *few]
        assert run(["eval", *flags, "--dry-run"]) == 0
        assert json.loads(capsys.readouterr().out)["image_size"] == 320
        assert run(["eval", *flags]) == 0
        found[engine] = json.loads(capsys.readouterr().out)["metrics"]
    assert found["keras"] == pytest.approx(found["onnx"], abs=1e-3)

    path = find_weights("lite0", Path("runs"))
    detector, _ = load_detector(path, image_size=320, free_sides=True)
    dataset = read_coco(Path("few.json"), Path(few[few.index("--images") + 1]), detector.class_names)
    source = FolderSource(dataset, dataset.images, 320, workers=1)
    predictor = Predictor(KerasRuntime(detector), about(path).settings.evaluate)
    alone = PredictorEvaluator(predictor).run(source, 4).metrics
    assert found["onnx"]["ap"] == pytest.approx(alone["ap"], abs=1e-3)

    assert run(["eval", "--set", f"model.image_size={about(path).image_size}", "--json", *few]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["ap"] != found["onnx"]["ap"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--set", "model.image_size=330"], "take 320 or 384"),
        (["--set", "train.epochs=5"], "eval does not use it"),
        (["--set", "seed=5"], "eval does not use it"),
        (["--set", "loss.box=iou"], "only with --engine keras on records"),
        (["--set", "data.validation_records=3"], "only on records"),
        (["--set", "webcam.score=0.3"], "only with --conditions"),
        (["--set", "train.epoch=5"], "epochs"),
    ],
)
def test_what_would_change_nothing_is_refused(
    few: list[str], capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    assert run(["eval", *few, *flags]) == 2
    assert told in capsys.readouterr().err
    assert not Path("scores").exists()


def test_an_exported_file_takes_the_sizes_that_it_is_made_for(
    few: list[str], slim_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = find_weights("lite0", Path("runs")).with_suffix(".onnx")
    flags = ["--weights", str(onnx), *few[2:], "--dry-run"]
    assert run(["eval", *flags, "--set", "model.image_size=320"]) == 0
    assert run(["eval", *flags, "--set", "model.image_size=330"]) == 2
    assert "takes multiples of 32" in capsys.readouterr().err

    export_detector(ExportPlan(slim_weights, tmp_path / "square.onnx", image_size=64))
    flags = ["--weights", str(tmp_path / "square.onnx"), *few[2:], "--dry-run"]
    assert run(["eval", *flags]) == 0
    assert run(["eval", *flags, "--set", "model.image_size=320"]) == 2
    assert "export them with --size 320" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["train", "--set", "finetune.epochs=3"], "train does not use it"),
        (["train", "--data", "x", "--set", "data.shuffle_buffer=3"], "only on records"),
        (["train", "--set", "data.chunk_records=30"], "only with --chunk"),
        (["finetune", "--set", "train.epochs=3"], "finetune does not use it"),
        (["finetune", "--set", "model.preset=r50"], "the weights bring their model"),
        (["train", "--set", "loss.teacher_weight=2"], "only with --teacher"),
        (["train", "--records", "x", "--set", "workspace.records=y"], "only without --records"),
    ],
)
def test_training_refuses_them_too(capsys: pytest.CaptureFixture[str], flags: list[str], told: str) -> None:
    assert run([*flags, "--config", "smoke"]) == 2
    assert told in capsys.readouterr().err
