import json
import os
import random
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

import fcoslite.data.write_data_set as write_module
from fcoslite.data.extract.extract import ExtractResult, extract
from fcoslite.data.formats.coco import read_coco
from fcoslite.errors import ConfigError, DataError, TooManySkippedError
from tests.disks import SmallDisk
from tests.exports import ultralytics_yolo


def run(demo_data: Path, out: Path, **arguments: Any) -> ExtractResult:
    arguments = {"annotations": demo_data / "annotations.json", "images": demo_data / "images"} | arguments
    return extract(out=out, **arguments)


def load(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "annotations.json").read_text("utf-8"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_keeps_every_person_and_nothing_else(demo_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "person"
    result = run(demo_data, out)
    source = COCO(str(demo_data / "annotations.json"))
    expected = source.loadAnns(source.getAnnIds(catIds=source.getCatIds(["person"])))
    images = {item["image_id"] for item in expected}
    assert (result.images, result.boxes, result.negatives) == (len(images), len(expected), 0)
    assert result.crowd_boxes == sum(item["iscrowd"] for item in expected)

    document = load(out)
    assert [image["id"] for image in document["images"]] == sorted(images)
    # records pass through whole: licence and attribution are among them
    assert document["images"] == source.loadImgs(sorted(images))
    assert document["licenses"] == source.dataset["licenses"] and document["info"] == source.dataset["info"]
    assert document["categories"] == [{"supercategory": "person", "id": 1, "name": "person"}]
    kept = ("id", "image_id", "bbox", "area", "iscrowd")
    by_id = {item["id"]: item for item in document["annotations"]}
    for item in expected:
        assert {key: by_id[item["id"]][key] for key in kept} == {key: item[key] for key in kept}
    assert {item["category_id"] for item in document["annotations"]} == {1}

    assert names(out / "images") == sorted(image["file_name"] for image in document["images"])
    first = document["images"][0]["file_name"]
    assert (out / "images" / first).read_bytes() == (demo_data / "images" / first).read_bytes()
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["classes"] == {"person": 1} and manifest["images"] == result.images
    assert names(tmp_path / "new") == ["person"]


def test_an_extract_of_an_extract_is_the_same(demo_data: Path, tmp_path: Path) -> None:
    run(demo_data, tmp_path / "a", classes=("car", "person"))
    second = {"annotations": tmp_path / "a" / "annotations.json", "images": tmp_path / "a" / "images"}
    run(demo_data, tmp_path / "b", classes=("car", "person"), **second)
    assert load(tmp_path / "a") == load(tmp_path / "b")


def test_limit_is_a_nested_sample_whatever_the_order_of_the_file(demo_data: Path, tmp_path: Path) -> None:
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    for section in ("images", "annotations", "categories"):
        random.Random(1).shuffle(document[section])
    shuffled = tmp_path / "shuffled.json"
    shuffled.write_text(json.dumps(document))
    run(demo_data, tmp_path / "a", limit=15)
    run(demo_data, tmp_path / "b", limit=15, annotations=shuffled)
    run(demo_data, tmp_path / "c", limit=17)
    run(demo_data, tmp_path / "d", limit=15, seed=1)
    assert load(tmp_path / "a") == load(tmp_path / "b")
    ids = {name: {image["id"] for image in load(tmp_path / name)["images"]} for name in "acd"}
    assert len(ids["a"]) == 15 and ids["a"] < ids["c"] and ids["a"] != ids["d"]
    assert run(demo_data, tmp_path / "e", limit=10_000).images > 17


def test_negatives_are_a_fraction_of_the_positives(demo_data: Path, tmp_path: Path) -> None:
    result = run(demo_data, tmp_path / "a", classes=("cat", "dog", "zebra"), negatives=0.5)
    positives = result.images - result.negatives
    assert positives > 0 and result.negatives == round(0.5 * positives)
    data = read_coco(tmp_path / "a" / "annotations.json", tmp_path / "a" / "images")
    assert sum(len(image.class_ids) == 0 for image in data.images) == result.negatives


def test_an_image_with_an_unusable_box_is_no_negative(demo_data: Path, tmp_path: Path) -> None:
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    [person] = [category["id"] for category in document["categories"] if category["name"] == "person"]
    annotations = [item for item in document["annotations"] if item["category_id"] == person]
    spoilt = annotations[0]["image_id"]
    for item in annotations:
        if item["image_id"] == spoilt:
            item["bbox"][2] = 0
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps(document))
    result = run(demo_data, tmp_path / "out", annotations=path, negatives=100)
    assert result.dropped_boxes > 0
    assert spoilt not in {image["id"] for image in load(tmp_path / "out")["images"]}


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_links(demo_data: Path, tmp_path: Path, link: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for path in (demo_data / "images").iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    result = run(demo_data, tmp_path / "out", images=source, link=link, limit=3)
    for path in (tmp_path / "out" / "images").iterdir():
        assert path.samefile(source / path.name)
        assert path.is_symlink() == (link == "symlink")
    assert result.size_bytes == sum(p.stat().st_size for p in (tmp_path / "out" / "images").iterdir())


def test_a_link_that_cannot_be_made_becomes_a_copy(
    demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    result = run(demo_data, tmp_path / "out", link="hardlink", limit=3)
    assert len(names(tmp_path / "out" / "images")) == result.images == 3
    assert caplog.text.count("copying instead") == 1


def test_subfolders_are_kept(tmp_path: Path) -> None:
    (tmp_path / "images" / "x" / "y").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images" / "x" / "y" / "a.png"), np.zeros((10, 10, 3), np.uint8))
    document = {
        "images": [{"id": 1, "file_name": "x/y/a.png", "height": 10, "width": 10}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    run(tmp_path, tmp_path / "out", yolo_labels=True)
    assert (tmp_path / "out" / "images" / "x" / "y" / "a.png").is_file()
    assert (tmp_path / "out" / "labels" / "x" / "y" / "a.txt").is_file()


@pytest.fixture
def damaged(demo_data: Path, tmp_path: Path) -> Path:
    """The images folder of the demo, one file missing, one cut short, one of another size, one a link to elsewhere."""
    folder = tmp_path / "damaged"
    shutil.copytree(demo_data / "images", folder)
    missing, cut, small, link = sorted(folder.iterdir())[:4]
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:1000])
    cv2.imwrite(str(small), np.zeros((7, 9, 3), np.uint8))
    link.unlink()
    link.symlink_to(demo_data / "images" / link.name)
    return folder


def skipped(out: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (out / "skipped.jsonl").read_text("utf-8").splitlines()]
    assert all(set(line) == {"image_id", "file_name", "reason"} for line in lines)
    assert all(line["file_name"] == f"{line['image_id']:012d}.jpg" for line in lines)
    return {line["file_name"]: line["reason"] for line in lines}


def test_images_that_cannot_be_used_are_left_out_and_listed(
    demo_data: Path, damaged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = run(demo_data, tmp_path / "whole", negatives=1.0)
    assert whole.skipped_images == 0 and not (tmp_path / "whole" / "skipped.jsonl").exists()
    result = run(demo_data, tmp_path / "out", images=damaged, negatives=1.0, max_skipped="4")
    reasons = skipped(tmp_path / "out")
    bad = names(demo_data / "images")[:4]
    assert sorted(reasons) == bad and result.skipped_images == 4
    assert [re.sub(r"\d+x\d+$", "HxW", reasons[name]) for name in bad] == [
        "missing",
        "cut short",
        "9x7 pixels, its annotations are for HxW",
        "a link that leaves the images folder is not followed",
    ]
    assert not set(bad) & set(names(tmp_path / "out" / "images"))
    assert result.images == len(names(tmp_path / "out" / "images"))
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["skipped_images"] == 4
    assert "4 of" in caplog.text and "skipped.jsonl" in caplog.text
    # what is left out of the sample is made up for, in the order that the sample has anyway
    few = run(demo_data, tmp_path / "few", images=damaged, limit=20, max_skipped="100%")
    assert few.images == 20 and few.skipped_images < 4


def test_too_many_are_an_error_that_says_what_to_do(demo_data: Path, damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(TooManySkippedError, match=r"cannot be used.*000000.*more than --max-skipped 1%") as caught:
        run(demo_data, tmp_path / "out", images=damaged)
    assert "--max-skipped" in caught.value.hint
    with pytest.raises(TooManySkippedError):
        run(demo_data, tmp_path / "out", images=damaged, dry_run=True)
    for path in damaged.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="26 of 26 images cannot be used") as other:
        run(demo_data, tmp_path / "out", images=damaged, max_skipped="100%")
    assert "the files are not there (10 of 10 looked at" in other.value.hint
    assert "the images folder must be the one that holds them" in other.value.hint
    assert names(tmp_path) == ["damaged"]


def test_the_links_of_an_extract_are_followed(demo_data: Path, tmp_path: Path) -> None:
    first = run(demo_data, tmp_path / "links", link="symlink", limit=3)
    arguments = {"annotations": tmp_path / "links" / "annotations.json", "images": tmp_path / "links" / "images"}
    second = run(demo_data, tmp_path / "copies", **arguments)
    assert (second.images, second.size_bytes) == (first.images, first.size_bytes)
    assert not any(path.is_symlink() for path in (tmp_path / "copies" / "images").iterdir())


def test_dry_run_counts_and_writes_nothing(demo_data: Path, tmp_path: Path) -> None:
    planned = run(demo_data, tmp_path / "a" / "out", negatives=0.1, dry_run=True)
    assert names(tmp_path) == []
    assert run(demo_data, tmp_path / "a" / "out", negatives=0.1) == planned


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_interrupted_extract_goes_on(demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(demo_data, tmp_path / "whole")
    copy, copied = shutil.copyfile, []

    def count(source: str, target: Path) -> None:
        if len(copied) == 5:  # torn in the middle of a file
            target.write_bytes(Path(source).read_bytes()[:100])
            copied.append(source)
            raise KeyboardInterrupt
        copied.append(source)
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", count)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(demo_data, out)
    assert not out.exists() and len(names(tmp_path / ".out.partial" / "images")) == 5
    result = run(demo_data, out)
    assert len(copied) == result.images + 1  # the torn one was copied again, and no other
    assert files(out) == files(tmp_path / "whole")
    assert names(tmp_path) == ["out", "whole"]


def test_an_image_that_a_power_cut_has_emptied_is_copied_again(
    demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (demo_data / "annotations.json", demo_data / "images")
    extract(*arguments, tmp_path / "whole", limit=5)

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(write_module, "write_skipped", interrupt)
        extract(*arguments, tmp_path / "out", limit=5)
    first, second, *_ = sorted((tmp_path / ".out.partial" / "images").iterdir())
    first.write_bytes(bytes(first.stat().st_size))
    second.write_bytes(b"")
    extract(*arguments, tmp_path / "out", limit=5)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_it_is_on_the_disk_before_it_has_its_name(
    demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("os.sync", lambda: seen.append(names(tmp_path / ".out.partial")), raising=False)
    extract(demo_data / "annotations.json", demo_data / "images", tmp_path / "out", limit=2)
    assert seen == [["annotations.json", "images", "manifest.json"]]


def test_the_same_extract_again_has_nothing_to_do(
    demo_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    first = run(demo_data, out)
    written = (out / "manifest.json").stat().st_mtime_ns
    caplog.set_level("INFO")
    assert run(demo_data, out) == first
    assert "is there already" in caplog.text
    assert (out / "manifest.json").stat().st_mtime_ns == written
    next((out / "images").iterdir()).unlink()
    with pytest.raises(DataError, match="is missing or of another size") as caught:
        run(demo_data, out)
    assert "--overwrite" in caught.value.hint
    assert run(demo_data, out, overwrite=True) == first


def test_a_label_that_was_moved_is_noticed(tmp_path: Path) -> None:
    ultralytics_yolo(tmp_path / "in")
    description = tmp_path / "in" / "coco8.yaml"
    extract(description, None, tmp_path / "out")
    label = next(path for path in sorted((tmp_path / "in").rglob("*.txt")) if path.read_text().startswith("0 "))
    label.write_text(re.sub(r"^0 \S+", "0 0.5", label.read_text()))
    with pytest.raises(DataError, match="exists"):
        extract(description, None, tmp_path / "out")


def test_a_full_disk_stops_it_and_room_lets_it_go_on(
    demo_data: Path, tmp_path: Path, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = small_disk.path / "out"
    with pytest.raises(DataError, match="are free") as early:
        run(demo_data, out)
    assert "--link hardlink" in early.value.hint
    monkeypatch.setattr("fcoslite.storage.space.free_bytes", lambda out: 10**9)  # as if it had been free then
    with pytest.raises(DataError, match="No space left on device") as caught:
        run(demo_data, out)
    assert "run the same command again" in caught.value.hint
    assert names(small_disk.path) == [".out.partial"]
    small_disk.resize(2**26)
    run(demo_data, out)
    run(demo_data, tmp_path / "whole")
    assert files(out) == files(tmp_path / "whole")
    assert names(small_disk.path) == ["out"]


def test_a_read_only_disk_is_told_before_the_work(demo_data: Path, small_disk: SmallDisk) -> None:
    small_disk.make_read_only()
    for dry_run in (True, False):
        with pytest.raises(DataError, match="cannot be written to"):
            run(demo_data, small_disk.path / "out", dry_run=dry_run)


def test_only_a_former_extract_is_replaced(demo_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(demo_data, out, limit=2)
    with pytest.raises(DataError, match="exists already") as caught:
        run(demo_data, out, limit=3)
    assert "--overwrite" in caught.value.hint
    assert run(demo_data, out, limit=3, overwrite=True).images == len(names(out / "images")) == 3
    assert names(tmp_path) == ["out"]
    own = {"annotations": out / "annotations.json", "images": out / "images"}
    with pytest.raises(ConfigError, match="its own input"):
        run(demo_data, out, overwrite=True, **own)
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(DataError, match="not empty"):
        run(demo_data, other, overwrite=True)
    with pytest.raises(DataError, match="is a file"):
        run(demo_data, other / "manifest.json", overwrite=True)
    assert names(other) == ["manifest.json"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": 0},
        {"negatives": -0.1},
        {"negatives": float("nan")},
        {"link": "x"},
        {"classes": ()},
        {"max_skipped": "x"},
    ],
)
def test_arguments_out_of_range(demo_data: Path, tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        run(demo_data, tmp_path / "out", **arguments)
    assert names(tmp_path) == []


def test_no_space(demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcoslite.storage.space.free_bytes", lambda out: 1000)
    with pytest.raises(DataError, match="MB are free"):
        run(demo_data, tmp_path / "out")
    monkeypatch.setattr("fcoslite.storage.space.free_bytes", lambda out: 100_000)
    assert run(demo_data, tmp_path / "linked", link="symlink").needed_bytes < 100_000
