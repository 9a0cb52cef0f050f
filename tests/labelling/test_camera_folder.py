"""Labels of a camera's folder, into it and elsewhere, by a made detector of bright spots."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fcoslite.camera.frames import CameraFrame, FrameLog, frame_file_name
from fcoslite.data.formats.coco import read_coco
from fcoslite.errors import BusyError, ConfigError, DataError
from fcoslite.labelling import label as label_module
from fcoslite.labelling.label import label
from fcoslite.storage.locks import locked
from fcoslite.storage.staged_folder import no_replacement
from tests.onnx_files import BRIGHT_SPOT, bright_spot_model

SIDE = 64
TEN = datetime(2026, 11, 28, 22, 0, tzinfo=UTC)


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "spot.yaml").write_text(BRIGHT_SPOT)
    return str(bright_spot_model(tmp_path / "spot.onnx", SIDE))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two hours of two cameras: a coat hangs at the door, and people are elsewhere each time."""
    folder = tmp_path / "home"
    folder.mkdir()
    with FrameLog(folder) as log:
        for number in range(7):
            for camera in ("door", "yard"):
                captured = TEN + timedelta(minutes=20 * number)
                why = "moved" if number == 3 else "quiet"
                frame = CameraFrame(frame_file_name(camera, captured), camera, captured, why)  # type: ignore[arg-type]
                image = np.zeros((SIDE, SIDE, 3), np.uint8)
                image[40:48, 8 * number : 8 * number + 8] = 255
                if camera == "door":
                    image[8:16, 24:32] = 255
                path = folder / "images" / frame.file_name
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
                log.append(frame)
    return folder


def document(out: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((out / "annotations.json").read_text())
    return loaded


def check(out: Path) -> None:
    """The coat is asked about in all frames of the door, and nobody else."""
    labels = document(out)
    cameras = {image["id"]: image["camera"] for image in labels["images"]}
    asked = [item for item in labels["annotations"] if item.get("ask")]
    assert len(labels["annotations"]) == 21 and len(asked) == 7
    assert {cameras[item["image_id"]] for item in asked} == {"door"}
    assert all(item["ask"] is True and abs(item["bbox"][0] + item["bbox"][2] / 2 - 28) < 2 for item in asked)
    dataset = read_coco(out / "annotations.json", out / "images", ["person"])
    assert sum(int(image.iscrowd.sum()) for image in dataset.images) == 7
    assert all((out / "images" / image.file_name).is_file() for image in dataset.images)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_labels_beside_the_frames(model: str, home: Path) -> None:
    before = files(home)
    result = label([home], home, by=[model])
    assert (result.images, result.needed_bytes) == (14, 0)
    check(home)
    after = files(home)
    assert {name: content for name, content in after.items() if name in before} == before
    assert set(after) - set(before) == {"annotations.json", "label.json", "sheet.jpg"}
    assert {path.name for path in home.parent.iterdir()} == {"home", "spot.onnx", "spot.yaml"}
    image = document(home)["images"][1]
    assert image["file_name"] == "yard/20261128T220000.000Z.jpg"
    assert (image["date_captured"], image["camera"], image["why"]) == ("2026-11-28T22:00:00.000Z", "yard", "quiet")


def test_labels_elsewhere(model: str, home: Path, tmp_path: Path) -> None:
    before = files(home)
    label([home], tmp_path / "out", by=[model])
    check(tmp_path / "out")
    assert files(home) == before
    label([home], home, by=[model])
    assert document(home) == document(tmp_path / "out")


def test_labels_that_are_there_are_kept(model: str, home: Path) -> None:
    label([home], home, by=[model])
    reviewed = document(home)
    del reviewed["annotations"][3]
    (home / "annotations.json").write_text(json.dumps(reviewed))
    label([home], home, by=[model])
    assert document(home) == reviewed
    shutil.rmtree(home / "images" / "yard")
    with pytest.raises(DataError, match="exists already") as caught:
        label([home], home, by=[model])
    assert "--overwrite" in caught.value.hint and document(home) == reviewed
    label([home], home, by=[model], overwrite=True)
    assert len(document(home)["images"]) == 7
    # a data set of others never takes the frames away
    with pytest.raises(DataError, match="not empty"):
        label([home / "images" / "door"], home, by=[model], overwrite=True)


def test_other_pictures_are_not_labelled_into_it(model: str, home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only the labels of"):
        label([home, home / "images" / "door"], home, by=[model])
    with locked(home / "..labels.lock", "labels"), pytest.raises(BusyError):
        label([home], home, by=[model])


def test_a_folder_is_not_labelled_while_it_is_reviewed(model: str, home: Path) -> None:
    """The review would write what it has read over the new labels."""
    label([home], home, by=[model])
    before = files(home)
    with no_replacement(home), pytest.raises(BusyError, match="is being written"):  # as a review does
        label([home], home, by=[model], overwrite=True)
    assert files(home) == before


def test_human_boxes_of_frames_stay(model: str, home: Path, tmp_path: Path) -> None:
    label([home], home, by=[model])
    humans = document(home)
    humans["annotations"] = [{"id": 1, "image_id": 2, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}]
    (tmp_path / "humans.json").write_text(json.dumps(humans))
    result = label([home], tmp_path / "out", by=[model], merge=tmp_path / "humans.json")
    assert result.human_boxes == 1
    drawn = [item for item in document(tmp_path / "out")["annotations"] if "score" not in item]
    assert [item["bbox"] for item in drawn] == [[1, 1, 9, 9]] and len(document(tmp_path / "out")["annotations"]) == 22


def test_what_is_asked_stays_so_in_another_merge(model: str, home: Path, tmp_path: Path) -> None:
    label([home], home, by=[model])
    label([home], tmp_path / "out", by=[model], merge=home / "annotations.json")
    check(tmp_path / "out")
    assert not any(item["iscrowd"] for item in document(tmp_path / "out")["annotations"])


def test_a_frame_that_somebody_deletes_meanwhile_costs_no_work(
    model: str, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = label_module.write_sheet

    def after_deletion(labelled: Any, entries: Any, images: Path, path: Path) -> None:
        (images / entries[0].name).unlink()
        original(labelled, entries, images, path)

    monkeypatch.setattr(label_module, "write_sheet", after_deletion)
    assert label([home], home, by=[model]).images == 14
    assert "the sheet lacks an image" in caplog.text and (home / "sheet.jpg").is_file()


def test_what_was_left_out_before_is_not_told_for_ever(model: str, home: Path) -> None:
    damaged = sorted((home / "images" / "yard").iterdir())[0]
    damaged.write_bytes(b"no picture")
    label([home], home, by=[model], max_skipped="1")
    assert damaged.name in (home / "skipped.jsonl").read_text()
    damaged.unlink()
    label([home], home, by=[model], overwrite=True)
    assert not (home / "skipped.jsonl").exists()
