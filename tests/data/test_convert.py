"""Data sets go from format to format without losing a box, and what a format cannot say is counted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fcoslite.data.convert import ConvertResult, convert
from fcoslite.data.dataset import Dataset
from fcoslite.data.extract.extract import extract
from fcoslite.data.formats.open import open_data
from fcoslite.data.formats.table import to_dataset
from fcoslite.data.images import read_labelled
from fcoslite.errors import ConfigError, DataError, TooManySkippedError
from tests.exports import EXPORTS, boxes, photographs, put

TARGETS = ("coco", "yolo", "voc", "createml")


@pytest.fixture(autouse=True, scope="module")
def without_sync() -> Iterator[None]:
    """Waiting for the disk of a busy machine, some ninety times."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.sync", lambda: None, raising=False)
        yield


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(folder: Path, **options: Any) -> dict[str, tuple[str | None, list[tuple[str, list[float], bool]]]]:
    """Split, and boxes in a fixed order, by file name without folders."""
    data: Dataset = to_dataset(open_data(folder, **options))
    return {
        Path(image.file_name).name: (
            image.split,
            sorted(
                (data.class_names[class_id - 1], [round(side, 2) for side in box], bool(crowd))
                for box, class_id, crowd in zip(
                    image.boxes_xyxy.tolist(), image.class_ids, image.iscrowd.tolist(), strict=True
                )
            ),
        )
        for image in data.images
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_in_every_format(name: str, target: Any, tmp_path: Path) -> None:
    make, _, splits = EXPORTS[name]
    make(tmp_path / "in")
    expected = read(tmp_path / "in")
    if len(set(splits)) == 1:  # what divides nothing is not written
        expected = {file: (None, labels) for file, (_, labels) in expected.items()}
    result = convert(tmp_path / "in", target, tmp_path / "out", link="hardlink")
    found = read(tmp_path / "out")
    if target == "yolo" and len(set(splits)) == 1:
        found = {file: (None, labels) for file, (_, labels) in found.items()}
    assert found == expected
    assert (result.images, result.boxes, result.crowds_left_out) == (4, sum(map(len, boxes().values())), 0)
    assert open_data(tmp_path / "out", form=target).class_names  # it is what it says
    assert not any("images/images" in path.as_posix() for path in (tmp_path / "out").rglob("*"))
    assert result.splits == {split: splits.count(split) for split in splits if split and len(set(splits)) > 1}


_WIDTH, _HEIGHT = photographs(1)[0][1:]
_box = st.tuples(
    st.floats(0, _WIDTH - 1),
    st.floats(0, _HEIGHT - 1),
    st.floats(0.01, _WIDTH),
    st.floats(0.01, _HEIGHT),
    st.booleans(),
)


@settings(max_examples=25)
@given(drawn=st.lists(_box, max_size=6), target=st.sampled_from(TARGETS))
def test_any_boxes_come_back(tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], target: Any) -> None:
    folder = tmp_path_factory.mktemp("any")
    name = photographs(1)[0][0]
    document = {
        "images": [{"id": 3, "file_name": name, "width": _WIDTH, "height": _HEIGHT}],
        "categories": [{"id": 1, "name": "d & <g>"}, {"id": 2, "name": "no"}],
        "annotations": [
            {
                "id": index,
                "image_id": 3,
                "category_id": 1 + dog,
                "bbox": [x, y, min(w, _WIDTH - x), min(h, _HEIGHT - y)],
            }
            for index, (x, y, w, h, dog) in enumerate(drawn)
        ],
    }
    put(name, folder / "in" / "images" / name)
    (folder / "in" / "annotations.json").write_text(json.dumps(document), "utf-8")
    before = open_data(folder / "in")
    convert(folder / "in", target, folder / "out", link="hardlink")
    after = open_data(folder / "out")
    assert len(after.class_ids) + after.dropped_boxes == len(before.class_ids)
    if not after.dropped_boxes:
        np.testing.assert_allclose(after.boxes_xywh, before.boxes_xywh, atol=1e-3)
        assert [after.class_names[number - 1] for number in after.class_ids] == [
            before.class_names[number - 1] for number in before.class_ids
        ]


def without_areas(demo_data: Path, folder: Path) -> Path:
    """The embedded photographs, with the boxes' own areas, which all formats know."""
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    for annotation in document["annotations"]:
        del annotation["area"]
    path = folder / "boxes.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def test_there_and_back_again(demo_data: Path, tmp_path: Path) -> None:
    images = demo_data / "images"
    start = without_areas(demo_data, tmp_path)
    before = to_dataset(open_data(start, images))
    crowds = sum(int(image.iscrowd.sum()) for image in before.images)
    assert crowds > 0
    voc = convert(start, "voc", tmp_path / "voc", images=images, link="copy")
    assert (voc.crowds_left_out, voc.crowd_boxes) == (0, crowds)
    yolo = convert(tmp_path / "voc", "yolo", tmp_path / "yolo", link="hardlink")
    assert yolo.crowds_left_out == crowds and yolo.boxes == voc.boxes - crowds
    convert(tmp_path / "yolo", "createml", tmp_path / "createml", link="symlink")
    convert(tmp_path / "createml", "coco", tmp_path / "coco", link="copy")
    after = to_dataset(open_data(tmp_path / "coco"))
    again = {image.file_name: image for image in after.images}
    for image in before.images:
        other, drawn = again[image.file_name], ~image.iscrowd
        assert [before.class_names[index - 1] for index in image.class_ids[drawn]] == [
            after.class_names[index - 1] for index in other.class_ids
        ]
        np.testing.assert_allclose(other.boxes_xyxy, image.boxes_xyxy[drawn], atol=1e-3)


def figures_of(data: Path, out: Path, images: Path | None = None) -> dict[str, float]:
    from fcoslite.config.settings import Settings
    from fcoslite.evaluation.evaluate import evaluate, plan_evaluation
    from fcoslite.runs.find_weights import packaged_weights

    plan = plan_evaluation(Settings(), packaged_weights()["lite0"], None, data, images, out, engine="onnx")
    metrics: dict[str, float] = evaluate(plan)["metrics"]
    return metrics


def test_the_figures_stay_where_there_are_no_crowds(demo_data: Path, tmp_path: Path) -> None:
    start = without_areas(demo_data, tmp_path)
    document = json.loads(start.read_text("utf-8"))
    document["annotations"] = [item for item in document["annotations"] if not item.get("iscrowd")]
    start.write_text(json.dumps(document), "utf-8")
    convert(start, "yolo", tmp_path / "yolo", images=demo_data / "images", link="symlink")
    convert(tmp_path / "yolo", "voc", tmp_path / "voc", link="symlink")
    convert(tmp_path / "voc", "createml", tmp_path / "createml", link="symlink")
    convert(tmp_path / "createml", "coco", tmp_path / "coco", link="symlink")
    before = figures_of(start, tmp_path / "before", demo_data / "images")
    assert before["ap"] > 0.2
    assert figures_of(tmp_path / "coco", tmp_path / "after") == pytest.approx(before, abs=1e-6)


def test_the_figures_stay_with_crowds_through_voc_alone(
    demo_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start, images = without_areas(demo_data, tmp_path), demo_data / "images"
    convert(start, "voc", tmp_path / "voc", images=images, link="symlink")
    convert(tmp_path / "voc", "coco", tmp_path / "coco", link="symlink")
    before = figures_of(start, tmp_path / "before", images)
    assert figures_of(tmp_path / "coco", tmp_path / "after") == pytest.approx(before, abs=1e-6)
    for target in ("yolo", "createml"):
        left_out = convert(start, target, tmp_path / target, images=images).crowds_left_out  # type: ignore[arg-type]
        assert left_out > 0
        assert f"{target} cannot say that a box is a crowd: {left_out} are left out" in caplog.text


def test_images_stay_where_they_are_unless_asked(tmp_path: Path) -> None:
    EXPORTS["ultralytics-yolo"][0](tmp_path / "in")
    result = convert(tmp_path / "in", "coco", tmp_path / "out")
    assert names(tmp_path / "out") == ["annotations", "manifest.json"]
    assert result.size_bytes > 100_000 > result.needed_bytes
    for link in ("copy", "hardlink", "symlink"):
        convert(tmp_path / "in", "coco", tmp_path / link, link=link)  # type: ignore[arg-type]
        image = next(path for path in (tmp_path / link / "images").rglob("*.jpg"))
        source = tmp_path / "in" / "images" / image.parent.name / image.name
        assert image.read_bytes() == source.read_bytes()
        assert image.is_symlink() == (link == "symlink")
        assert (image.stat().st_ino == source.stat().st_ino) == (link != "copy")


def test_what_we_wrote_is_known_whatever_was_put_beside_it(tmp_path: Path) -> None:
    EXPORTS["createml"][0](tmp_path / "in")
    convert(tmp_path / "in", "coco", tmp_path / "out", link="copy")
    expected = read(tmp_path / "out")
    (tmp_path / "out" / "data.yaml").write_text("names: [dog, person]\ntrain: images\n")
    assert read(tmp_path / "out") == expected
    (tmp_path / "out" / "manifest.json").write_text('{"kind": "fcoslite-convert", "format": ["coco"]}')
    with pytest.raises(DataError, match="2 formats"):
        read(tmp_path / "out")


def test_scores_are_kept_or_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    EXPORTS["label-studio-yolo"][0](tmp_path / "in")
    label = next(path for path in sorted((tmp_path / "in" / "labels").iterdir()) if path.stat().st_size)
    label.write_text("".join(f"{line} 0.5\n" for line in label.read_text().splitlines()))
    assert convert(tmp_path / "in", "coco", tmp_path / "coco").scores_left_out == 0
    assert sorted(open_data(tmp_path / "coco").scores.tolist()) == [0.5, 0.5, 1, 1]
    assert convert(tmp_path / "in", "voc", tmp_path / "voc").scores_left_out == 2
    assert "voc knows no scores: 2 boxes have lost theirs" in caplog.text


def test_what_somebody_is_to_be_asked_about_is_asked_still(demo_data: Path, tmp_path: Path) -> None:
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    document["categories"] = [one for one in document["categories"] if one["name"] == "person"]
    person = document["categories"][0]["id"]
    document["annotations"] = [one for one in document["annotations"] if one["category_id"] == person]
    for number, one in enumerate(document["annotations"]):
        one["iscrowd"] = int(number == 3)
    document["annotations"][5] |= {"score": 0.3, "ask": True}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document), "utf-8")
    convert(path, "coco", tmp_path / "converted", images=demo_data / "images")
    extract(path, demo_data / "images", tmp_path / "extracted")
    for folder in ("converted", "extracted"):
        written = json.loads((tmp_path / folder / "annotations.json").read_text("utf-8"))["annotations"]
        assert sum(one["iscrowd"] for one in written) == 1
        assert [one["score"] for one in written if one.get("ask")] == [0.3]
        table = open_data(tmp_path / folder / "annotations.json", images=demo_data / "images")
        assert table.asks.sum() == 1 and table.iscrowd[table.asks].all() and table.iscrowd.sum() == 2


def test_splits_that_a_format_cannot_say_are_refused(tmp_path: Path) -> None:
    EXPORTS["cvat-voc"][0](tmp_path / "in")
    sets = tmp_path / "in" / "ImageSets" / "Main"
    (sets / "val.txt").rename(sets / "nights.txt")
    with pytest.raises(DataError, match="2 images are of the split 'nights', which yolo cannot say") as caught:
        convert(tmp_path / "in", "yolo", tmp_path / "out")
    assert "--split" in caught.value.hint
    assert convert(tmp_path / "in", "yolo", tmp_path / "out", split="nights").images == 2
    expected = read(tmp_path / "in")
    convert(tmp_path / "in", "coco", tmp_path / "coco", link="copy")
    assert read(tmp_path / "coco") == expected
    (sets / "nights.txt").unlink()
    convert(tmp_path / "in", "voc", tmp_path / "rest", link="copy")
    assert sorted(str(split) for split, _ in read(tmp_path / "rest").values()) == ["None", "None", "train", "train"]


def test_two_images_of_one_name_keep_theirs(tmp_path: Path) -> None:
    EXPORTS["ultralytics-yolo"][0](tmp_path / "in")
    name = photographs()[0][0]
    for folder, suffix in (("images", ".jpg"), ("labels", ".txt")):
        there = (tmp_path / "in" / folder / "train" / name).with_suffix(suffix)
        other = tmp_path / "in" / folder / "val" / there.name
        other.write_bytes(there.read_bytes())
    result = convert(tmp_path / "in", "voc", tmp_path / "out", link="copy")
    assert (result.images, result.boxes) == (5, 6)
    assert len(open_data(tmp_path / "out").class_ids) == 6


def run(data: Path, out: Path, **options: Any) -> ConvertResult:
    return convert(data, "voc", out, **options)


def test_images_that_cannot_be_used_are_left_out_and_listed(tmp_path: Path) -> None:
    EXPORTS["ultralytics-yolo"][0](tmp_path / "in")
    broken = tmp_path / "in" / "images" / "train" / photographs()[0][0]
    broken.write_bytes(b"no image")
    for link in ("none", "copy"):
        with pytest.raises(TooManySkippedError, match="1 of 4 images cannot be used"):
            run(tmp_path / "in", tmp_path / "out", link=link)
    assert names(tmp_path) == ["in"]
    result = run(tmp_path / "in", tmp_path / "out", link="copy", max_skipped="1")
    assert (result.images, result.boxes, result.skipped_images) == (3, 2, 1)
    assert broken.name in (tmp_path / "out" / "skipped.jsonl").read_text()


def test_sides_that_are_not_those_of_the_image(demo_data: Path, tmp_path: Path) -> None:
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    document["images"][0]["width"] += 7
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(TooManySkippedError, match=r"its annotations are for \d+x"):
        run(path, tmp_path / "out", images=demo_data / "images", link="copy")
    assert run(path, tmp_path / "out", images=demo_data / "images").skipped_images == 0  # boxes alone
    first = document["images"][0]
    first["width"], first["height"] = first["height"], first["width"] - 7  # exchanged, and no EXIF says so
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(TooManySkippedError, match=r"its annotations are for \d+x"):
        run(path, tmp_path / "exchanged", images=demo_data / "images", link="copy")


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_images_as_stored_are_turned_where_sides_are_not_told(orientation: int, tmp_path: Path) -> None:
    """What is in a box is in it still, when the picture is turned by its EXIF orientation."""
    stored = np.zeros((60, 80, 3), np.uint8)
    stored[10:30, 20:50] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "in" / "images").mkdir(parents=True)
    Image.fromarray(stored).save(tmp_path / "in" / "images" / "a.png", exif=exif)
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 80}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 10, 30, 20], "area": 600, "iscrowd": 0}
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "in" / "annotations.json").write_text(json.dumps(document))
    annotations, images = tmp_path / "in" / "annotations.json", tmp_path / "in" / "images"
    for target in TARGETS:
        convert(tmp_path / "in", target, tmp_path / "out" / target, link="copy")
        data = to_dataset(open_data(tmp_path / "out" / target))
        [image] = data.images
        shown = read_labelled(image, data.folder)
        x_min, y_min, x_max, y_max = image.boxes_xyxy[0].round().astype(int)
        assert shown[y_min:y_max, x_min:x_max].min() == 255 and shown.sum() == stored.sum(), target
        assert (x_max - x_min) * (y_max - y_min) == 600, target
    labels = "labels/a.txt"
    extract(annotations, images, tmp_path / "labels", yolo_labels=True)
    assert (tmp_path / "labels" / labels).read_text() == (tmp_path / "out" / "yolo" / labels).read_text()


def test_nothing_is_lost_and_nothing_half_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    EXPORTS["ultralytics-yolo"][0](tmp_path / "in")
    planned = run(tmp_path / "in", tmp_path / "out", dry_run=True)
    assert names(tmp_path) == ["in"]
    assert run(tmp_path / "in", tmp_path / "out") == planned
    caplog.set_level("INFO")
    assert run(tmp_path / "in", tmp_path / "out") == planned
    assert "is there already" in caplog.text
    with pytest.raises(DataError, match="exists already"):
        convert(tmp_path / "in", "coco", tmp_path / "out")
    convert(tmp_path / "in", "coco", tmp_path / "out", overwrite=True)
    assert names(tmp_path / "out") == ["annotations", "manifest.json"]
    with pytest.raises(DataError, match="not empty"):
        run(tmp_path / "out", tmp_path / "in", overwrite=True)
    with pytest.raises(ConfigError, match="its own input"):
        run(tmp_path / "out", tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("options", [{"link": "x"}, {"max_skipped": "x"}, {"form": "x"}])
def test_arguments_out_of_range(tmp_path: Path, options: dict[str, Any]) -> None:
    EXPORTS["createml"][0](tmp_path / "in")
    with pytest.raises(ConfigError):
        run(tmp_path / "in", tmp_path / "out", **options)
    with pytest.raises(ConfigError, match="no format 'folder' to write"):
        convert(tmp_path / "in", "folder", tmp_path / "out")  # type: ignore[arg-type]
    assert names(tmp_path) == ["in"]
