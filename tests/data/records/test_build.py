import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf

import fcoslite.data.records.plan as plan_module
from fcoslite.data.dataset import Dataset, LabelledImage
from fcoslite.data.extract.extract import extract
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import read_image
from fcoslite.data.records.build import BuildResult, build_records
from fcoslite.data.records.manifest import read_manifest
from fcoslite.data.records.schema import parse_record
from fcoslite.data.records.shards import RecordBytes
from fcoslite.errors import ConfigError, DataError, TooManySkippedError
from fcoslite.geometry.letterbox import Letterbox
from tests.disks import SmallDisk


def build(data: Path, out: Path, **arguments: Any) -> BuildResult:
    return build_records(data, out, **{"image_size": 96, "workers": 2} | arguments)


def parsed(folder: Path) -> list[dict[str, Any]]:
    files = [str(folder / shard.name) for shard in read_manifest(folder).shards]
    dataset = tf.data.TFRecordDataset(files).map(parse_record)
    return list(dataset.as_numpy_iterator())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def dataset(demo_data: Path) -> Dataset:
    return read_coco(demo_data / "annotations.json", demo_data / "images")


@pytest.fixture(scope="module")
def records(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records") / "records"
    build(demo_data, folder, records_per_shard=12)
    return folder


def test_every_image_comes_back(dataset: Dataset, records: Path) -> None:
    images = {image.image_id: image for image in dataset.images}
    found = parsed(records)
    assert sorted(int(record["image_id"]) for record in found) == sorted(images)
    for record in found:
        image = images[int(record["image_id"])]
        assert (record["height"], record["width"]) == (image.height, image.width)
        assert record["file_name"].decode() == image.file_name
        letterbox = Letterbox.square(image.height, image.width, 96)
        pixels = tf.io.decode_image(record["image_bytes"], channels=3).numpy()
        expected = letterbox.apply_image(read_image(dataset.folder / image.file_name))
        np.testing.assert_array_equal(pixels, expected)  # PNG loses nothing, and the channels are RGB
        np.testing.assert_array_equal(record["boxes"][:, 0], image.class_ids)
        np.testing.assert_array_equal(record["boxes"][:, 1:], letterbox.apply_boxes(image.boxes_xyxy))
        np.testing.assert_array_equal(record["crowd"], image.iscrowd)
        np.testing.assert_array_equal(record["areas"], image.areas)
    assert any(record["crowd"].any() for record in found)


def test_the_missions_three_keys(dataset: Dataset, records: Path) -> None:
    ragged = tf.io.RaggedFeature
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "annot": ragged(tf.float32),
        "len": ragged(tf.int64),
        **{key: tf.io.FixedLenFeature([], tf.int64) for key in ("image_id", "pad_left", "pad_top")},
        "scale": tf.io.FixedLenFeature([], tf.float32),
    }
    images = {image.image_id: image for image in dataset.images}
    shard = read_manifest(records).shards[0].name
    for serialized in tf.data.TFRecordDataset(str(records / shard)):
        record = tf.io.parse_single_example(serialized, features)
        image = images[int(record["image_id"])]
        boxes = tf.RaggedTensor.from_row_lengths(record["annot"], record["len"])
        assert boxes.row_lengths().numpy().tolist() == [5] * len(image.class_ids)
        letterbox = Letterbox.square(image.height, image.width, 96)
        assert (record["pad_left"], record["pad_top"]) == (letterbox.pad_left, letterbox.pad_top)
        assert float(record["scale"]) == pytest.approx(letterbox.scale)


def test_manifest_describes_the_shards(dataset: Dataset, records: Path) -> None:
    manifest = read_manifest(records)
    assert manifest.class_names == dataset.class_names and manifest.image_size == 96
    total = len(dataset.images)
    assert manifest.count == total and [shard.count for shard in manifest.shards] == [12, 12, total - 24]
    assert [shard.name for shard in manifest.shards] == [f"records-0000{i}-of-00003.tfrecord" for i in range(3)]
    assert names(records) == sorted(["manifest.json", *(shard.name for shard in manifest.shards)])
    counts = [len(image.class_ids) for image in dataset.images]
    assert (manifest.boxes, manifest.max_boxes) == (sum(counts), max(counts))
    for shard in manifest.shards:
        content = (records / shard.name).read_bytes()
        assert (shard.size, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("workers", [1, 4])
def test_same_bytes_whatever_the_workers(demo_data: Path, records: Path, tmp_path: Path, workers: int) -> None:
    build(demo_data, tmp_path / "out", workers=workers, records_per_shard=12)
    assert names(tmp_path / "out") == names(records)
    for name in names(records):
        assert (tmp_path / "out" / name).read_bytes() == (records / name).read_bytes()


def test_limit_takes_the_first_of_a_shuffle_by_seed(
    dataset: Dataset, demo_data: Path, records: Path, tmp_path: Path
) -> None:
    order = [record["image_id"] for record in parsed(records)]
    assert order != sorted(order)
    build(demo_data, tmp_path / "few", limit=5)
    assert [record["image_id"] for record in parsed(tmp_path / "few")] == order[:5]
    build(demo_data, tmp_path / "other", limit=5, seed=1)
    assert [record["image_id"] for record in parsed(tmp_path / "other")] != order[:5]
    assert build(demo_data, tmp_path / "all", limit=40_000, image_size=32).images == len(dataset.images)


def test_an_address_is_of_a_cluster(demo_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a Ray cluster's") as caught:
        build(demo_data, tmp_path / "out", address="auto")
    assert "--engine ray" in caught.value.hint


def test_jpeg_and_a_single_class_name(demo_data: Path, tmp_path: Path) -> None:
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    document["categories"] = [{"id": 1, "name": "Person (any)"}]
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    (tmp_path / "images").symlink_to(demo_data / "images")
    build(tmp_path, tmp_path / "out", limit=2, encoding="jpeg")
    assert read_manifest(tmp_path / "out").shards[0].name == "person-any-00000-of-00001.tfrecord"
    for record in parsed(tmp_path / "out"):
        assert record["image_bytes"].startswith(b"\xff\xd8")
        pixels = tf.io.decode_image(record["image_bytes"], channels=3).numpy().astype(np.float32)
        image = read_image(tmp_path / "images" / record["file_name"].decode())
        expected = Letterbox.square(*image.shape[:2], 96).apply_image(image)
        assert np.abs(pixels - expected).mean() < 4


def test_unusable_images_are_skipped(demo_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "annotations.json").write_bytes((demo_data / "annotations.json").read_bytes())
    files = sorted((demo_data / "images").iterdir())
    for path in files[4:]:
        (data / "images" / path.name).write_bytes(path.read_bytes())
    (data / "images" / files[3].name).symlink_to(files[3])  # out of the folder
    (data / "images" / files[0].name).write_text("no image")
    cv2.imwrite(str(data / "images" / files[1].name), np.zeros((7, 9, 3), np.uint8))  # not the size annotated
    with pytest.raises(TooManySkippedError, match="more than --max-skipped 3 allows") as caught:
        build(data, tmp_path / "out", records_per_shard=4, max_skipped="3", workers=1)
    assert "--max-skipped" in caught.value.hint
    assert names(tmp_path) == [".out.partial", "data"]  # what is done is kept
    result = build(data, tmp_path / "out", records_per_shard=4, max_skipped="4")
    assert (result.images, result.skipped_images) == (len(files) - 4, 4)
    build(data, tmp_path / "again", records_per_shard=4, max_skipped="100%")
    assert names(tmp_path / "again") == names(tmp_path / "out")
    listing = (tmp_path / "out" / "skipped.jsonl").read_text()
    assert listing == (tmp_path / "again" / "skipped.jsonl").read_text()
    reasons = {line["file_name"]: line["reason"] for line in map(json.loads, listing.splitlines())}
    assert sorted(reasons) == [path.name for path in files[:4]] and reasons[files[2].name] == "missing"
    shards = read_manifest(tmp_path / "out").shards
    assert max(shard.count for shard in shards) == 4 and sum(shard.count for shard in shards) == result.images
    assert "4 of 32 images cannot be used" in caplog.text

    for path in files:
        (data / "images" / path.name).unlink(missing_ok=True)
    with pytest.raises(DataError, match="32 of 32 images cannot be used"):
        build(data, tmp_path / "none", max_skipped="100%")
    assert names(tmp_path) == ["again", "data", "out"]


def test_the_links_of_an_extract_are_followed(demo_data: Path, tmp_path: Path) -> None:
    extract(demo_data / "annotations.json", demo_data / "images", tmp_path / "data", limit=3, link="symlink")
    assert build(tmp_path / "data", tmp_path / "out").images == 3


def test_dry_run_estimates_and_writes_nothing(demo_data: Path, records: Path, tmp_path: Path) -> None:
    plan = build(demo_data, tmp_path / "out", records_per_shard=12, dry_run=True)
    assert names(tmp_path) == []
    manifest = read_manifest(records)
    assert (plan.images, plan.boxes, plan.shards) == (manifest.count, manifest.boxes, len(manifest.shards))
    assert plan.size_bytes == pytest.approx(sum(shard.size for shard in manifest.shards), rel=0.3)
    assert plan.free_bytes > 0


@pytest.mark.parametrize(
    "arguments",
    [{"image_size": 100}, {"image_size": 0}, {"limit": 0}, {"encoding": "gif"}, {"workers": 0}, {"max_skipped": "x"}],
)
def test_arguments_out_of_range(demo_data: Path, tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        build(demo_data, tmp_path / "out", **arguments)
    assert names(tmp_path) == []


def test_data_that_cannot_be_used(demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no data set") as caught:
        build(tmp_path / "absent", tmp_path / "out")
    assert "fcoslite extract" in caught.value.hint
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    (tmp_path / "annotations.json").write_text(json.dumps(document | {"annotations": []}))
    with pytest.raises(DataError, match="no images folder"):
        build(tmp_path, tmp_path / "out")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="no usable box"):
        build(tmp_path, tmp_path / "out")
    monkeypatch.setattr("fcoslite.storage.space.free_bytes", lambda out: 1000)
    with pytest.raises(DataError, match="MB are free"):
        build(demo_data, tmp_path / "out")
    assert names(tmp_path) == ["annotations.json", "images"]


def test_existing_records_are_replaced_only_on_request(demo_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(demo_data, out, limit=2)
    with pytest.raises(DataError, match="exists already"):
        build(demo_data, out, limit=3)
    assert build(demo_data, out, limit=3, overwrite=True).images == read_manifest(out).count == 3
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"kind": "fcoslite-extract"}')
    with pytest.raises(DataError, match="not empty"):
        build(demo_data, tmp_path / "other", overwrite=True)
    assert names(tmp_path) == ["other", "out"]


def test_an_interrupt_leaves_the_former_records(
    demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    build(demo_data, out, limit=2)
    before = (out / "manifest.json").read_bytes()

    def interrupt(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plan_module, "make_record", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(demo_data, out, limit=3, overwrite=True)
    assert (out / "manifest.json").read_bytes() == before
    assert read_manifest(out).count == 2 and names(tmp_path) == ["out"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("images", [1, 4, 9, 30])
def test_an_interrupted_build_goes_on_after_its_whole_files(
    demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    data = tmp_path / "data"
    shutil.copytree(demo_data, data)
    for path in sorted((data / "images").iterdir())[::5]:
        path.unlink()  # skipped images
    build(data, tmp_path / "whole", records_per_shard=4, max_skipped="7")
    original, made = plan_module.make_record, []

    def count(image: LabelledImage, *arguments: Any) -> RecordBytes:
        made.append(image)
        if len(made) == images:
            raise KeyboardInterrupt
        return original(image, *arguments)

    monkeypatch.setattr(plan_module, "make_record", count)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build(data, out, records_per_shard=4, workers=1, max_skipped="7")
    monkeypatch.setattr(plan_module, "make_record", original)
    assert not out.exists()
    kept = list((tmp_path / ".out.partial").glob("*.tfrecord"))
    assert bool(kept) == (images > 4) and all(path.with_name(f".{path.name}.json").is_file() for path in kept)
    seen = {path.name: path.stat().st_mtime_ns for path in kept}
    result = build(data, out, records_per_shard=4, max_skipped="7")
    assert files(out) == files(tmp_path / "whole")
    assert {name: (out / name).stat().st_mtime_ns for name in seen} == seen  # not written again
    assert result.skipped_images == read_manifest(out).skipped_images == 7
    assert names(tmp_path) == ["data", "out", "whole"]


def test_images_that_cannot_be_used_make_no_file(demo_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(demo_data, data)
    order = parsed_order(data, tmp_path / "order")
    for name in order[4:]:
        (data / "images" / name).unlink()
    result = build(data, tmp_path / "out", records_per_shard=2, max_skipped="100%")
    assert (result.images, result.shards, result.skipped_images) == (4, 2, len(order) - 4)
    assert [record["file_name"].decode() for record in parsed(tmp_path / "out")] == order[:4]


def parsed_order(data: Path, out: Path) -> list[str]:
    build(data, out, image_size=32)
    return [record["file_name"].decode() for record in parsed(out)]


def test_the_same_build_again_has_nothing_to_do(
    demo_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(demo_data, data)
    first = build(data, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    caplog.set_level("INFO")
    again = build(data, out)
    assert replace(again, free_bytes=first.free_bytes) == first
    assert "is there already" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    next((data / "images").iterdir()).write_bytes(b"")  # other data
    with pytest.raises(DataError, match="exists already"):
        build(data, out)


def test_a_full_disk_stops_it_and_room_lets_it_go_on(
    demo_data: Path, tmp_path: Path, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"image_size": 256, "records_per_shard": 3}
    out = small_disk.path / "out"
    with pytest.raises(DataError, match="MB are free") as early:
        build(demo_data, out, **options)
    assert "--encoding jpeg" in early.value.hint
    monkeypatch.setattr("fcoslite.storage.space.free_bytes", lambda out: 10**9)  # as if it had been free then
    with pytest.raises(DataError, match="No space left on device") as caught:
        build(demo_data, out, **options)
    assert "run the same command again" in caught.value.hint
    assert names(small_disk.path) == [".out.partial"]
    assert len(list((small_disk.path / ".out.partial").glob(".*.tfrecord.json"))) > 1
    small_disk.resize(2**26)
    build(demo_data, out, **options)
    build(demo_data, tmp_path / "whole", **options)
    assert files(out) == files(tmp_path / "whole")
    assert names(small_disk.path) == ["out"]
