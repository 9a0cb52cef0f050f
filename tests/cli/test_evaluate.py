"""`fcoslite eval` on embedded photographs, by day and under conditions."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.cli.app import run
from fcoslite.data.extract.extract import extract
from fcoslite.data.records.build import build_records
from fcoslite.evaluation.conditions import CONDITIONS


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
