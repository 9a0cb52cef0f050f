"""The whole of `label`, by a made detector that finds bright spots."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import read_labelled
from fcoslite.errors import ConfigError, DataError, SourceError, TooManySkippedError
from fcoslite.labelling.detectors import choose_detectors, load_detectors
from fcoslite.labelling.label import label
from fcoslite.runs.find_weights import packaged_weights
from tests.onnx_files import BRIGHT_SPOT, bright_spot_model

SIDE = 64


def picture(x: int, y: int) -> np.ndarray:
    """Black, with a white cell of 8 pixels."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 255
    return image


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "spot.yaml").write_text(BRIGHT_SPOT)
    return str(bright_spot_model(tmp_path / "spot.onnx", SIDE))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), picture(1 + number, 2))
    return folder


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (SIDE, SIDE))
    for number in range(20):
        writer.write(picture(1 + number % 6, 3))
    writer.release()
    return path


def document(out: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((out / "annotations.json").read_text())
    return loaded


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_photographs_become_a_data_set(model: str, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = label([photographs], out, by=[model])
    assert (result.images, result.boxes, result.sure_boxes, result.views) == (6, 6, 6, 2)
    dataset = read_coco(out / "annotations.json", out / "images", ["person"])
    for number, image in enumerate(dataset.images):
        assert image.file_name == f"{number}.png"
        assert (out / "images" / image.file_name).read_bytes() == (photographs / image.file_name).read_bytes()
        x = 8 * (1 + number) + 4
        np.testing.assert_allclose(image.boxes_xyxy, [[x - 6, 14, x + 6, 26]], atol=0.01)
    assert all(0.99 < item["score"] < 1 for item in document(out)["annotations"])
    assert cv2.imread(str(out / "sheet.jpg")).std() > 5
    assert sorted(path.name for path in out.iterdir()) == ["annotations.json", "images", "manifest.json", "sheet.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photographs", "spot.onnx", "spot.yaml"]


def test_frames_of_a_video(model: str, film: Path, tmp_path: Path) -> None:
    label([film], tmp_path / "out", by=[model], every=3, frames=(4, 15))
    images = document(tmp_path / "out")["images"]
    assert [image["file_name"] for image in images] == [f"film-{frame:06d}.jpg" for frame in (4, 7, 10, 13)]
    assert [(image["frame"], image["seconds"]) for image in images] == [(4, 0.4), (7, 0.7), (10, 1.0), (13, 1.3)]
    dataset = read_coco(tmp_path / "out" / "annotations.json", tmp_path / "out" / "images")
    for image in dataset.images:
        assert image.boxes_xyxy.shape == (1, 4)
        assert read_labelled(image, dataset.folder).max() > 200


def test_the_same_again_does_nothing_and_other_options_are_refused(
    model: str, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = label([photographs], out, by=[model])
    before = (out / "annotations.json").stat().st_mtime_ns
    assert label([photographs], out, by=[model]) == first
    assert (out / "annotations.json").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="with other options"):
        label([photographs], out, by=[model], mirror=False)
    assert label([photographs], out, by=[model], mirror=False, overwrite=True).views == 1


def test_frames_of_other_sides_than_humans_drew_on_are_left_out(model: str, film: Path, tmp_path: Path) -> None:
    label([film], tmp_path / "drawn", by=[model], every=5)
    path = tmp_path / "drawn" / "annotations.json"
    document = json.loads(path.read_text())
    document["images"][0] |= {"width": 2 * document["images"][0]["width"]}
    path.write_text(json.dumps(document))
    result = label([film], tmp_path / "out", by=[model], every=5, merge=path, max_skipped="1")
    assert (result.images, result.skipped_images) == (len(document["images"]) - 1, 1)
    assert "its annotations are for" in (tmp_path / "out" / "skipped.jsonl").read_text()


def test_photographs_count_beside_a_video_of_unknown_length(
    model: str, photographs: Path, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fcoslite.labelling import sources

    (photographs / "0.png").write_bytes(b"no image")
    known = sources._video
    monkeypatch.setattr(sources, "_video", lambda *words: replace(known(*words), count=None))
    result = label([photographs, film], tmp_path / "out", by=[model], every=5, max_skipped="17%")  # one of six
    assert result.skipped_images == 1


class Stop(Exception):
    pass


def test_stopped_it_goes_on_to_the_same_bytes(
    model: str, photographs: Path, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    options: dict[str, Any] = {"by": [model], "every": 2, "sizes": [64, 96]}
    label([photographs, film], undisturbed, **options)
    from fcoslite.labelling import label as module

    placed: list[str] = []
    place = module._place

    def place_some(picture: Any, jpeg: bytes | None, folder: Path) -> None:
        place(picture, jpeg, folder)
        placed.append(picture.name)
        if len(placed) in (3, 5, 9, 10):
            raise Stop

    monkeypatch.setattr(module, "_place", place_some)
    for _ in range(4):
        with pytest.raises(Stop):
            label([photographs, film], out, **options)
        assert not out.exists()
    label([photographs, film], out, **options)
    assert files(out) == files(undisturbed)
    # an image that was placed, but not yet in the journal, is placed again, and no other
    assert len(placed) == 16 + 4


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_it_goes_on(model: str, demo_data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fcoslite", "label", str(demo_data), "--by", model, "--out", "out", "--no-mirror"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    journal = tmp_path / ".out.partial" / "labelled.jsonl"
    patience = time.monotonic() + 60
    while time.monotonic() < patience and process.poll() is None:
        if journal.is_file() and journal.stat().st_size:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.001)
    process.communicate()
    if process.returncode == -signal.SIGKILL:
        assert not (tmp_path / "out").exists() and (tmp_path / ".out.partial").is_dir()
    label([demo_data], tmp_path / "out", by=[model], mirror=False)
    label([demo_data], tmp_path / "undisturbed", by=[model], mirror=False)
    assert files(tmp_path / "out") == files(tmp_path / "undisturbed")


def test_boxes_of_humans_stay(model: str, photographs: Path, tmp_path: Path) -> None:
    drawn = {
        "images": [{"id": 5, "file_name": "0.png", "height": SIDE, "width": SIDE}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 1, "bbox": [6, 14, 12, 11], "area": 9, "iscrowd": 0},
            {"id": 2, "image_id": 5, "category_id": 1, "bbox": [40, 40, 10, 10], "score": 0.4},
        ],
    }
    (tmp_path / "humans.json").write_text(json.dumps(drawn))
    result = label([photographs], tmp_path / "out", by=[model], merge=tmp_path / "humans.json")
    assert (result.boxes, result.human_boxes) == (5, 2)
    mine = [item for item in document(tmp_path / "out")["annotations"] if item["image_id"] == 1]
    assert [item["bbox"] for item in mine] == [[6, 14, 12, 11], [40, 40, 10, 10]]
    assert [item.get("score") for item in mine] == [None, 0.4]  # of a detector before


def test_images_that_cannot_be_used(model: str, photographs: Path, tmp_path: Path) -> None:
    (photographs / "2.png").write_bytes((photographs / "2.png").read_bytes()[:60])
    (photographs / "3.png").write_bytes(b"no image")
    out = tmp_path / "out"
    with pytest.raises(TooManySkippedError, match=r"2\.png"):
        label([photographs], out, by=[model])
    assert (tmp_path / ".out.partial" / "labelled.jsonl").read_bytes().count(b"\n") == 2
    result = label([photographs], out, by=[model], max_skipped="2")
    assert (result.images, result.skipped_images) == (4, 2)
    lines = [json.loads(line) for line in (out / "skipped.jsonl").read_text().splitlines()]
    assert [line["file_name"] for line in lines] == ["2.png", "3.png"]
    with pytest.raises(DataError, match="cannot be used"):
        label([photographs / "3.png"], tmp_path / "none", by=[model], max_skipped="100%")


def test_a_dry_run_writes_nothing(
    model: str, slim_weights: Path, photographs: Path, film: Path, tmp_path: Path
) -> None:
    ours = shutil.copy(slim_weights, tmp_path)
    before = files(tmp_path)
    result = label([photographs, film], tmp_path / "out", by=[model, ours], every=5, dry_run=True)
    assert (result.images, result.views) == (10, 4) and result.needed_bytes > 0
    assert files(tmp_path) == before


def test_a_data_set_is_its_images(model: str, photographs: Path, tmp_path: Path) -> None:
    label([photographs], tmp_path / "first", by=[model])
    assert label([tmp_path / "first"], tmp_path / "second", by=[model]).images == 6


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"paths": ["nothing.jpg"]}, SourceError, "nothing.jpg"),
        ({"paths": ["0"]}, SourceError, "no file or folder '0'"),
        ({"paths": ["rtsp://host/stream"]}, SourceError, "rtsp"),
        ({"paths": ["spot.yaml"]}, SourceError, "no video"),
        ({"paths": ["photographs", "photographs/0.png"]}, ConfigError, "same name"),
        ({"paths": ["film.avi"], "frames": (20, None)}, ConfigError, "no frame 20"),
        ({"paths": []}, ConfigError, "nothing to label"),
        ({"by": []}, ConfigError, "no detector"),
        ({"by": ["lite0"], "sizes": [416]}, ConfigError, "--size is for ONNX"),
        ({"by": ["spot.onnx:yolox"]}, ConfigError, "described as"),
        ({"by": ["spot.onnx:nothing.yaml"]}, ConfigError, "no description named"),
        ({"by": ["spot.onnx", "other.onnx"]}, ConfigError, "know different classes"),
        ({"sizes": [50]}, ConfigError, "the size is 50"),
        ({"merge": Path("nothing.json")}, DataError, "nothing.json"),
        ({"max_skipped": "few"}, ConfigError, "max-skipped"),
        ({"score": 0.0}, ConfigError, "score"),
        ({"every": 0}, ConfigError, "every"),
        ({"frames": (5, 5)}, ConfigError, "frames"),
        ({"out": Path("photographs")}, DataError, "not empty"),
    ],
)
def test_errors_say_what_is_wrong_and_leave_nothing(
    model: str,
    photographs: Path,
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy("spot.onnx", "other.onnx")
    Path("other.yaml").write_text(BRIGHT_SPOT.replace("person", "cat"))
    arguments: dict[str, Any] = {"paths": ["photographs"], "out": Path("out"), "by": ["spot.onnx"], **change}
    arguments["paths"] = [Path(path) for path in arguments["paths"]]
    before = files(tmp_path)
    with pytest.raises(error, match=message):
        label(**arguments)
    assert files(tmp_path) == before


def test_our_exports_need_no_description() -> None:
    onnx = packaged_weights()["lite0"].with_suffix(".onnx")
    [chosen] = choose_detectors([str(onnx)], (), Path("runs"))
    assert (chosen.path, chosen.description, chosen.class_names) == (onnx, None, ("person",))
    [detect] = load_detectors([chosen], 0.3).views
    assert detect(np.zeros((64, 64, 3), np.uint8)).class_names == ("person",)
