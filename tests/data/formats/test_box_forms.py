"""Boxes that cannot be meant: asked about, and read as they are meant when that is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcoslite.cli.app import run
from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.extract.extract import extract
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.data.formats.open import open_data
from fcoslite.errors import ConfigError, DataError
from tests.exports import EXPORTS, photographs, put

BOXES = np.random.default_rng(0).uniform([0, 0, 20, 30], [300, 200, 200, 180], (90, 4)).round(1)
CORNERS = np.concatenate([BOXES[:, :2], BOXES[:, :2] + BOXES[:, 2:]], axis=1)
FRACTIONS = BOXES / [640, 480, 640, 480]


def read(folder: Path, numbers: np.ndarray, **options: Any) -> AnnotationTable:
    path = folder / "a.json"
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": index, "image_id": 1, "category_id": 1, "bbox": box, "area": 12.5}
            for index, box in enumerate(numbers.tolist())
        ],
    }
    path.write_text(json.dumps(document))
    return open_coco(path, **options)


@pytest.mark.parametrize("form", ["voc", "createml"])
def test_fractions_in_other_formats_are_asked_about(
    form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name, width, height = photographs(1)[0]
    put(name, tmp_path / name)
    if form == "voc":
        corners = "<xmin>0.2</xmin><ymin>0.1</ymin><xmax>0.6</xmax><ymax>0.4</ymax>"
        box = f"<object><name>person</name><bndbox>{corners}</bndbox></object>"
        (tmp_path / name).with_suffix(".xml").write_text(f"<annotation>{box}</annotation>")
    else:
        box = {"label": "person", "coordinates": {"x": 0.4, "y": 0.25, "width": 0.4, "height": 0.3}}
        (tmp_path / "a.json").write_text(json.dumps([{"image": name, "annotations": [box]}]))
    assert len(open_data(tmp_path).class_ids) == 1
    assert "1 of 1 boxes lie within the first pixel of their image: are they fractions?" in caplog.text
    caplog.clear()
    [read_box] = open_data(tmp_path, boxes="fractions").boxes_xywh
    assert read_box == pytest.approx([0.2 * width, 0.1 * height, 0.4 * width, 0.3 * height])
    assert "are they fractions?" not in caplog.text


def test_boxes_of_an_image_that_is_missing_stay_until_it_is_left_out(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    table = open_coco(tmp_path / "a.json", places=[tmp_path])
    assert table.boxes_xywh.tolist() == [[10, 20, 30, 40]] and table.dropped_boxes == 0
    with pytest.raises(DataError, match=r"1 of 1 images cannot be used \(a.jpg: missing\)"):
        extract(tmp_path / "a.json", tmp_path, tmp_path / "out")


def test_boxes_as_coco_has_them_are_not_asked_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path, BOXES).boxes_xywh.tolist() == BOXES.tolist()
    over = BOXES + np.array([330, 0, 0, 0])  # many over the border, as a tool may write them
    assert read(tmp_path, over).clipped_boxes > 18
    assert caplog.text == ""


def test_corners_are_asked_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    beyond = int((CORNERS[:, :2] + CORNERS[:, 2:] > np.array([641, 481])).any(axis=1).sum())
    assert read(tmp_path, CORNERS).clipped_boxes >= beyond > 10
    text = f"{beyond} of 90 boxes reach beyond their image as x y w h, 0 as x1 y1 x2 y2: are they x1 y1 x2 y2?"
    assert f"{text} --boxes xyxy" in caplog.text
    caplog.clear()
    table = read(tmp_path, CORNERS, boxes="xyxy")
    np.testing.assert_allclose(table.boxes_xywh, BOXES)
    np.testing.assert_allclose(table.areas, table.boxes_xywh[:, 2] * table.boxes_xywh[:, 3])
    assert caplog.text == ""


def test_fractions_are_asked_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, FRACTIONS)
    assert (
        "90 of 90 boxes lie within the first pixel of their image: are they fractions? --boxes fractions" in caplog.text
    )
    np.testing.assert_allclose(read(tmp_path, FRACTIONS, boxes="fractions").boxes_xywh, BOXES)


def test_wrong_answers_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    small = BOXES * [1, 1, 0.01, 0.01]
    assert read(tmp_path, small, boxes="xyxy").dropped_boxes > 80
    assert "have a box without area inside its image" in caplog.text


def test_only_coco_is_asked(tmp_path: Path) -> None:
    EXPORTS["cvat-voc"][0](tmp_path)
    with pytest.raises(ConfigError, match="--boxes xyxy is not for a data set of format voc"):
        open_data(tmp_path, boxes="xyxy")
    with pytest.raises(ConfigError, match="boxes is 'cxcywh'"):
        open_data(tmp_path, boxes="cxcywh")  # type: ignore[arg-type]


def test_commands_pass_it_on(
    demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    for annotation in document["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x, y, x + w, y + h]
    for image in document["images"]:
        put(image["file_name"], tmp_path / "data" / "images" / image["file_name"])
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(document))
    assert run(["extract", "--data", "data", "--out", "wrong"]) == 0
    captured = capsys.readouterr()
    assert "are they x1 y1 x2 y2? --boxes xyxy" in captured.err and "boxes cut at the border" in captured.out
    assert run(["extract", "--data", "data", "--out", "wrong", "--boxes", "xyxy"]) == 1  # other options
    assert run(["extract", "--data", "data", "--out", "right", "--boxes", "xyxy", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["clipped_boxes"] <= 5 and "--boxes" not in captured.err
    assert run(["convert", "data", "--to", "yolo", "--out", "yolo", "--boxes", "xyxy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dropped_boxes"] == 0
    assert run(["eval", "--weights", "lite0", "--engine", "onnx", "--data", "data", "--boxes", "xyxy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["ap"] > 0.2
    flags = ["train", "--config", "smoke", "--data", "data", "--boxes", "xyxy", "--dry-run", "--json"]
    assert run(flags) == 0
    assert json.loads(capsys.readouterr().out)["boxes"] == "xyxy"
