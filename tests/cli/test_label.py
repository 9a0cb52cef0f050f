import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.camera.frames import CameraFrame, FrameLog, frame_file_name
from fcoslite.cli.app import run
from fcoslite.data.formats.coco import read_coco
from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.review.review import open_review
from tests.walks import walk_pictures

PHOTOGRAPHS = ("000000000165.jpg", "000000000529.jpg", "000000000790.jpg")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_data: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("photographs").mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(demo_data / "images" / name, "photographs")
    return tmp_path


def test_by_packaged_weights(demo_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["label", "photographs", "--out", "data", "--by", "lite0", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["images"], result["views"], result["class_names"]) == (3, 2, ["person"])
    labelled = read_coco(Path("data/annotations.json"), Path("data/images"), ["person"])
    truth = {image.file_name: image for image in read_coco(demo_data / "annotations.json", demo_data / "images").images}
    scores = iter([item["score"] for item in json.loads(Path("data/annotations.json").read_text())["annotations"]])
    hits = []
    for image in labelled.images:
        sure = np.array([next(scores) >= 0.5 for _ in image.boxes_xyxy], bool)
        drawn = truth[image.file_name]
        overlaps = pairwise_iou(image.boxes_xyxy[sure], drawn.boxes_xyxy, drawn.iscrowd)
        hits += (overlaps.max(axis=1, initial=0) > 0.5).tolist()
    assert len(hits) >= 2 and np.mean(hits) > 0.7
    # what the other commands take
    assert run(["build-records", "--data", "data", "--out", "records", "--size", "64", "--quiet"]) == 0


def test_table_and_dry_run(capsys: pytest.CaptureFixture[str], workspace: Path) -> None:
    assert run(["label", "photographs", "--out", "data", "--by", "lite0", "--no-mirror", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "lite0; 1 view of each image" in out and "would write" in out
    assert [path.name for path in workspace.iterdir()] == ["photographs"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["photographs"], 2, "--out"),
        (["--out", "data"], 2, "SOURCE"),
        (["photographs", "--out", "data", "--by", "lite00"], 1, "lite0"),
        (["photographs", "--out", "data", "--by", "nothing.onnx:rtmdet"], 1, "no ONNX file"),
        (["photographs", "--out", "data", "--by", "empty.onnx"], 2, "no description"),
        (["photographs", "--out", "data", "--by", "empty.onnx:yolox"], 1, "whole ONNX file"),
        (["photographs", "--out", "data", "--frames", "9"], 2, "FIRST:END"),
        (["photographs", "--out", "data", "--score", "2"], 2, "--score"),
        (["nowhere", "--out", "data"], 1, "nowhere"),
        (["http://host/x", "--out", "data"], 1, "is no file"),
    ],
)
def test_errors_say_what_to_do_and_leave_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    Path("empty.onnx").touch()
    assert run(["label", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err and "hint: " in captured.err and message in captured.err
    assert sorted(path.name for path in workspace.iterdir()) == ["empty.onnx", "photographs"]


def test_answers_of_a_review_are_in_labels_that_are_made_anew(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["label", "photographs", "--out", "data", "--by", "lite0", "--no-mirror", "--json"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["answers"] is None
    with open_review(Path("data")) as review:
        yes, no = review.ahead(2)
        review.answer(yes, "yes")
        review.answer(no, "no")
        removed = review.labels.bbox(no)
    assert run([*arguments, "--overwrite", "--score", "0.09"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert (answers["yes"], answers["no"]) == (1, 1)
    labels = json.loads(Path("data/annotations.json").read_text())["annotations"]
    assert sum(item["score"] == 1 for item in labels) == 1
    assert not any(item["bbox"] == pytest.approx(removed, abs=0.1) for item in labels)


def test_who_stands_for_hours_is_asked_about(demo_data: Path, workspace: Path) -> None:
    """In the background of the film somebody stands all the time, as a statue does; somebody else walks through."""
    pictures = list(walk_pictures(demo_data, [("walk", 4)], (640, 426)))
    still = next(walk_pictures(demo_data, [("quiet", 1)], (640, 426)))
    ten = datetime(2026, 11, 28, 22, 0, tzinfo=UTC)
    Path("home").mkdir()
    with FrameLog(Path("home")) as log:
        for number in range(8):
            captured = ten + timedelta(minutes=15 * number)
            why = "quiet" if number % 2 == 0 else "moved"
            frame = CameraFrame(frame_file_name("door", captured), "door", captured, why)  # type: ignore[arg-type]
            path = Path("home/images") / frame.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), still if why == "quiet" else pictures[5 * number])
            log.append(frame)
    assert run(["label", "home", "--out", "home", "--by", "lite0", "--score", "0.3", "--quiet"]) == 0
    labels = json.loads(Path("home/annotations.json").read_text())["annotations"]
    statue = np.array([[362, 143, 459, 393]], np.float64)
    boxes = np.array([item["bbox"] for item in labels], np.float64)
    boxes[:, 2:] += boxes[:, :2]
    at_it = pairwise_iou(boxes, statue, np.zeros(1, bool))[:, 0] > 0.7
    asked = np.array([item.get("ask", False) for item in labels])
    assert asked[at_it].all() and at_it.sum() >= 6
    assert not asked.all()  # the walker is not
    dataset = read_coco(Path("home/annotations.json"), Path("home/images"))
    assert sum(int(image.iscrowd.sum()) for image in dataset.images) == asked.sum()
