"""Records, inspected: what they say is what their data set said, and bad ones are named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fcoslite.cli.app import run as command
from fcoslite.data.formats.open import open_data
from fcoslite.data.images import read_image
from fcoslite.data.inspect.inspect import Inspection, inspect_data, plan_inspection
from fcoslite.data.records.build import build_records
from fcoslite.data.records.manifest import read_manifest
from fcoslite.errors import ConfigError, DataError
from tests.reports.pages import Page

SIZE = 256


@pytest.fixture(scope="module")
def records(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect") / "records"
    build_records(demo_data, folder, image_size=SIZE, records_per_shard=10)
    return folder


@pytest.fixture(scope="module")
def found(records: Path) -> Inspection:
    return inspect_data(plan_inspection(records))


def test_labels_are_those_of_the_data_set(found: Inspection, demo_data: Path) -> None:
    theirs, ours = open_data(demo_data), found.table
    assert ours.class_names == theirs.class_names
    assert [image.file_name for image in ours.images] == [image.file_name for image in theirs.images]
    assert [(image.height, image.width) for image in ours.images] == [
        (image.height, image.width) for image in theirs.images
    ]
    for column in ("starts", "class_ids", "iscrowd", "scores"):
        np.testing.assert_array_equal(getattr(ours, column), getattr(theirs, column))
    np.testing.assert_allclose(ours.areas, theirs.areas, rtol=1e-6)
    np.testing.assert_allclose(ours.boxes_xywh, theirs.boxes_xywh, atol=1e-3)
    assert (ours.dropped_boxes, ours.clipped_boxes) == (0, 0)


def test_figures_are_those_of_the_data_set(found: Inspection, demo_data: Path) -> None:
    theirs = inspect_data(plan_inspection(demo_data, open_images=False))
    same = ("classes", "images", "boxes", "crowds", "images_without_box", "common_sizes")
    assert [getattr(found.figures, name) for name in same] == [getattr(theirs.figures, name) for name in same]
    assert [(odd.name, odd.count) for odd in found.odd_boxes] == [(odd.name, odd.count) for odd in theirs.odd_boxes]
    assert found.files is not None and len(found.files.opened) == 32 and not found.files.duplicates
    assert found.faults == [] and found.remarks == ()


def test_pictures_are_the_photographs_in_their_own_size(found: Inspection, demo_data: Path) -> None:
    for index in (0, 17, 31):
        image = found.table.images[index]
        photograph = read_image(demo_data / "images" / image.file_name).astype(int)
        _, pixels = found.pictures.read(index)
        assert pixels.shape == (image.height, image.width, 3)
        assert np.abs(pixels - photograph).mean() < 12  # it was made smaller, and larger again


def test_classes_are_chosen(records: Path) -> None:
    table = plan_inspection(records, classes=["dog", "person"], open_images=False).table
    assert table.class_names == ("dog", "person")
    assert np.bincount(table.class_ids).tolist() == [0, 2, 62]
    with pytest.raises(ConfigError, match="no class 'cow2'"):
        plan_inspection(records, classes=["cow2"])


def test_copies_among_records_are_found(demo_data: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    names = [image["file_name"] for image in document["images"][:4]]
    for name in names:
        (tmp_path / "images" / name).write_bytes((demo_data / "images" / name).read_bytes())
    (tmp_path / "images" / "copy.jpg").write_bytes((demo_data / "images" / names[0]).read_bytes())
    copied = document["images"][0] | {"id": 9_999_999, "file_name": "copy.jpg"}
    document["images"] = [*document["images"][:4], copied]
    (tmp_path / "annotations.json").write_text(json.dumps(document), "utf-8")
    build_records(tmp_path, tmp_path / "records", image_size=SIZE)
    found = inspect_data(plan_inspection(tmp_path / "records"))
    assert found.files is not None
    [group] = found.files.duplicates
    assert group.same_bytes and {found.table.images[index].file_name for index in group.images} == {
        names[0],
        "copy.jpg",
    }


def test_damaged_records_are_named_and_the_rest_is_told(
    demo_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_records(demo_data, tmp_path / "records", image_size=64, records_per_shard=10)
    first, second, *_ = read_manifest(tmp_path / "records").shards
    content = bytearray((tmp_path / "records" / first.name).read_bytes())
    content[-40] ^= 8  # within the last record
    (tmp_path / "records" / first.name).write_bytes(content)
    (tmp_path / "records" / second.name).unlink()
    assert command(["inspect", str(tmp_path / "records"), "--json", "--strict"]) == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["images"] == 21 and document["faults"] == ["11 images cannot be used"]
    named = {one["file_name"]: one["reason"] for one in document["files"]["unusable"]}
    assert "damaged" in named[f"{first.name}, record 9"] and named[f"{second.name}, record 0"] == "is missing"
    assert "records verify" in document["files"]["hint"]
    assert "11 of 32 records cannot be read and are left out" in document["remarks"][0]
    assert command(["inspect", str(tmp_path / "records"), "--json", "--strict", "--no-files"]) == 1
    assert "11 images cannot be used" in capsys.readouterr().err


def test_the_page_shows_records(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["inspect", str(records), "--out", str(tmp_path / "page.html"), "--limit", "14"]) == 0
    assert "14 opened, 0 cannot be used" in capsys.readouterr().out
    page = Page(tmp_path / "page.html")
    assert len(page.pictures) >= 12 and all(picture.std() > 5 for picture in page.pictures)


def test_what_is_not_for_records_is_refused(records: Path, tmp_path: Path) -> None:
    for arguments in ({"split": "val"}, {"images": tmp_path}, {"boxes": "xyxy"}):
        with pytest.raises(ConfigError, match="not for records"):
            plan_inspection(records, **arguments)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no data set at"):
        plan_inspection(tmp_path / "absent.tfrecord")
    with pytest.raises(DataError, match="one file of records") as caught:
        plan_inspection(next(records.glob("*.tfrecord")))
    assert str(records) in caught.value.hint
    (tmp_path / "foreign.tfrecord").write_bytes(b"")
    with pytest.raises(DataError, match=r"no manifest\.json"):
        plan_inspection(tmp_path)


def test_a_record_that_went_meanwhile_cannot_be_used(demo_data: Path, tmp_path: Path) -> None:
    build_records(demo_data, tmp_path / "records", limit=3, image_size=64)
    plan = plan_inspection(tmp_path / "records")
    next((tmp_path / "records").glob("*.tfrecord")).unlink()
    found = inspect_data(replace(plan, to_open=plan.to_open[:2]))
    assert found.files is not None
    assert [one.reason for one in found.files.unusable] == ["cannot be read any more"] * 2
