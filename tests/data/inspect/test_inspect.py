"""A data set that has every defect: each is found, and nothing else."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from fcoslite.data.inspect.inspect import Inspection, inspect_data, plan_inspection
from fcoslite.errors import DataError
from tests.damaged_set import write_damaged_set


@pytest.fixture(scope="module")
def damaged(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged") / "set"
    write_damaged_set(demo_data, folder)
    return folder


@pytest.fixture(scope="module")
def found(damaged: Path) -> Inspection:
    return inspect_data(plan_inspection(damaged))


@pytest.fixture(scope="module")
def names(demo_data: Path) -> list[str]:
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    return [image["file_name"] for image in document["images"]]


def test_copies_are_found_whatever_was_done_to_them_and_those_of_two_splits_first(found, names):
    groups = found.document()["files"]["duplicates"]
    assert [(set(group["files"]), group["same_bytes"], group["splits"]) for group in groups[:2]] == [
        ({f"train2017/{names[3]}", "val2017/leak.jpg"}, True, ["train", "val"]),
        ({f"train2017/{names[4]}", "val2017/leak.webp"}, False, ["train", "val"]),
    ]
    others = {(frozenset(group["files"]), group["same_bytes"]) for group in groups[2:]}
    assert others == {
        (frozenset({f"train2017/{names[0]}", "train2017/copy.jpg"}), True),
        (frozenset({f"train2017/{names[1]}", "train2017/worse.jpg"}), False),
        (frozenset({f"train2017/{names[2]}", "train2017/half.png"}), False),
    }


def test_files_that_cannot_be_used_are_named_with_their_reasons(found):
    files = found.document()["files"]
    assert files["opened"] == 41
    reasons = {Path(one["file_name"]).name: one["reason"] for one in files["unusable"]}
    assert set(reasons) == {"missing.jpg", "cut.jpg", "text.jpg", "other_sides.jpg"}
    assert (reasons["missing.jpg"], reasons["cut.jpg"]) == ("missing", "cut short")
    assert "no image" in reasons["text.jpg"] and "its annotations are for" in reasons["other_sides.jpg"]
    assert sum(files["reasons"].values()) == 4
    assert "(2 of 4 looked at" in files["hint"]


def test_odd_boxes_are_found(found, names):
    kinds = {odd["name"]: odd for odd in found.document()["odd_boxes"]}
    assert {name: odd["count"] for name, odd in kinds.items()}["repeated"] == 1
    [again] = kinds["repeated"]["examples"]
    assert (again["bbox"], again["class"]) == ([10, 20, 20, 30], "person")
    assert kinds["tiny"]["examples"][0]["bbox"] == [5, 5, 2, 60]
    assert kinds["tiny"]["examples"][0]["file_name"] == f"train2017/{names[1]}"
    assert kinds["long"]["examples"][0]["bbox"] == [5, 5, 2, 60]
    assert kinds["huge"]["examples"][0]["bbox"][:2] == [0, 0]
    assert (found.table.dropped_boxes, found.table.clipped_boxes) == (1, 1)


def test_what_the_reader_warns_of_is_told(found, demo_data):
    [remark] = found.remarks
    assert "1 annotations have a box without area" in remark
    assert found.faults == [
        "1 box is left out",
        "4 images cannot be used",
        "2 photographs are in more than one split",
    ]
    assert inspect_data(plan_inspection(demo_data)).faults == []


@pytest.mark.parametrize("form", ["fractions", "xyxy"])
def test_boxes_of_another_form_are_asked_about(form, demo_data, tmp_path):
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    sides = {image["id"]: (image["width"], image["height"]) for image in document["images"]}
    for one in document["annotations"]:
        (x, y, width, height), (across, down) = one["bbox"], sides[one["image_id"]]
        corners = [x, y, x + width, y + height]
        one["bbox"] = corners if form == "xyxy" else [x / across, y / down, width / across, height / down]
    (tmp_path / "annotations.json").write_text(json.dumps(document), "utf-8")
    remarks = plan_inspection(tmp_path, open_images=False).remarks
    assert any(f"--boxes {form}" in remark for remark in remarks)
    assert not plan_inspection(tmp_path, open_images=False, boxes=form).remarks


def test_a_split_by_itself_shares_nothing(damaged):
    found = inspect_data(plan_inspection(damaged, split="train"))
    assert found.figures.images == 31
    assert len(found.files.duplicates) == 3 and not found.files.shared


def test_the_sample_is_always_the_same_and_boxes_are_counted_of_all(demo_data):
    plans = [plan_inspection(demo_data, limit=limit) for limit in (5, 5, 9)]
    assert plans[0].to_open == plans[1].to_open and set(plans[0].to_open) < set(plans[2].to_open)
    found = inspect_data(plans[0])
    assert (len(found.files.opened), found.figures.images) == (5, 32)


def test_no_file_is_opened_unless_wanted(damaged):
    found = inspect_data(plan_inspection(damaged, open_images=False))
    assert found.files is None and found.document()["files"] is None
    assert found.faults == ["1 box is left out"]


def test_other_formats(demo_data, tmp_path):
    from fcoslite.data.convert import convert

    convert(demo_data, "yolo", tmp_path / "yolo", link="copy")
    yolo, coco = (inspect_data(plan_inspection(path)) for path in (tmp_path / "yolo", demo_data))
    assert yolo.figures.boxes == coco.figures.boxes - coco.figures.crowds
    assert yolo.figures.by_size.keys() == coco.figures.by_size.keys()
    folder = inspect_data(plan_inspection(demo_data / "images"))
    assert (folder.figures.images, folder.figures.boxes, folder.files.unusable) == (32, 0, ())


def test_images_that_no_header_tells_of_are_in_no_figure(demo_data, tmp_path):
    names = [*(f"{number}.jpg" for number in range(3)), "empty.jpg", "link.jpg"]
    for name, path in zip(names[:3], sorted((demo_data / "images").iterdir()), strict=False):
        (tmp_path / name).write_bytes(path.read_bytes())
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "link.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "data.yaml").write_text("names: [person]\ntrain: .\n")
    for name in names:
        (tmp_path / name).with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5\n")
    plan = plan_inspection(tmp_path)
    assert "2 images cannot be read; the first: " in plan.remarks[0]
    found = inspect_data(plan)
    assert (found.figures.images, found.figures.boxes, found.odd_boxes) == (3, 3, ())
    assert min(width for width, _, _ in found.figures.common_sizes) > 1 and found.faults == ["2 images cannot be used"]
    assert {one.file_name: one.reason for one in found.files.unusable} == {
        "empty.jpg": "empty",
        "link.jpg": "a link to nothing",
    }
    assert inspect_data(plan_inspection(tmp_path, open_images=False)).files == replace(found.files, opened=())
    for path in tmp_path.glob("[0-9].*"):
        path.unlink()
    with pytest.raises(DataError, match="2 of 2 images cannot be used"):
        plan_inspection(tmp_path)


def test_the_reader_is_heard_only_while_it_reads(demo_data):
    before = list(logging.getLogger("fcoslite").handlers)
    plan_inspection(demo_data, open_images=False)
    assert logging.getLogger("fcoslite").handlers == before
