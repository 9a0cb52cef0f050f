"""Data sets as labelling tools export them are recognised, and read alike."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.formats.open import open_data
from fcoslite.data.formats.table import to_dataset
from fcoslite.data.images import read_labelled
from fcoslite.errors import ConfigError, DataError
from tests.exports import EXPORTS, boxes, coco_document, photographs, put, roboflow_createml, ultralytics_yolo


def read_boxes(table: AnnotationTable) -> dict[str, list[tuple[str, list[float]]]]:
    """Class and corners, by file name without folders."""
    dataset = to_dataset(table)
    return {
        Path(image.file_name).name: [
            (dataset.class_names[class_id - 1], box)
            for box, class_id in zip(image.boxes_xyxy.tolist(), image.class_ids, strict=True)
        ]
        for image in dataset.images
    }


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_is_recognised_and_all_its_boxes_are_read(name: str, tmp_path: Path) -> None:
    make, form, splits = EXPORTS[name]
    make(tmp_path)
    table = open_data(tmp_path)
    found, expected = read_boxes(table), boxes()
    assert set(found) == set(expected)
    for file, labels in expected.items():
        assert [label for label, _ in found[file]] == [label for label, *_ in labels]
        corners = np.array([corners for _, *corners in labels]).reshape(-1, 4)
        np.testing.assert_allclose(np.array([box for _, box in found[file]]).reshape(-1, 4), corners, atol=1e-3)
    of_file = {Path(image.file_name).name: image for image in table.images}
    for (file, width, height), split in zip(photographs(), splits, strict=True):
        image = of_file[file]
        assert (image.width, image.height, image.split) == (width, height, split)
        assert read_labelled(image, table.folder).shape == (height, width, 3)
    assert (table.dropped_boxes, table.clipped_boxes) == (0, 0)
    assert set(table.class_names) == {"person", "dog"}
    assert read_boxes(open_data(tmp_path, form=form)) == found  # and where it is said


@pytest.mark.parametrize("name", [name for name, (_, _, splits) in EXPORTS.items() if "val" in splits])
def test_a_split_alone(name: str, tmp_path: Path) -> None:
    make, _, splits = EXPORTS[name]
    make(tmp_path)
    whole = read_boxes(open_data(tmp_path))
    for word in ("val", "valid", "validation"):
        part = read_boxes(open_data(tmp_path, split=word))
        expected = [file for (file, _, _), split in zip(photographs(), splits, strict=True) if split == "val"]
        assert sorted(part) == expected
        assert all(part[file] == whole[file] for file in part)
    with pytest.raises(DataError, match="no split 'vall'") as caught:
        open_data(tmp_path, split="vall")
    assert "did you mean 'val'?" in caught.value.hint


def test_two_parts_of_one_split_are_not_taken_for_one(tmp_path: Path) -> None:
    """COCO's 2014 and 2017 hold the same photographs, divided in two ways."""
    for name, _, _ in photographs(2):
        put(name, tmp_path / "coco" / "images" / name)
    (tmp_path / "coco" / "annotations").mkdir()
    for year, part in ((2014, photographs(1)), (2017, photographs(2)[1:])):
        path = tmp_path / "coco" / "annotations" / f"instances_train{year}.json"
        path.write_text(json.dumps(coco_document(part)))
    roboflow_createml(tmp_path / "createml")
    shutil.copytree(tmp_path / "createml" / "valid", tmp_path / "createml" / "val")
    for folder, words in (("coco", ["train2014", "train2017"]), ("createml", ["val", "valid"])):
        with pytest.raises(DataError, match=" and ".join(words)) as caught:
            open_data(tmp_path / folder)
        assert f"--split {words[1]}" in caught.value.hint
        assert open_data(tmp_path / folder, split=words[1]).split_names == (words[1],)


@pytest.mark.parametrize("name", EXPORTS)
def test_classes_are_chosen_by_name(name: str, tmp_path: Path) -> None:
    EXPORTS[name][0](tmp_path)
    table = open_data(tmp_path, classes=["dog"])
    assert table.class_names == ("dog",) and len(table.images) == 4 and len(table.class_ids) == 1
    with pytest.raises(ConfigError, match="no class 'persn'") as caught:
        open_data(tmp_path, classes=["persn"])
    assert "did you mean 'person'?" in caught.value.hint


def test_a_folder_of_photographs_has_no_boxes(tmp_path: Path) -> None:
    for name, _, _ in photographs():
        put(name, tmp_path / "below" / name)
    table = open_data(tmp_path)
    assert [image.file_name for image in table.images] == [f"below/{name}" for name, _, _ in photographs()]
    assert len(table.class_ids) == 0 and table.class_names == ("person",)
    assert open_data(tmp_path, classes=["dog"]).class_names == ("dog",)


def test_a_folder_of_two_formats_must_be_told(tmp_path: Path) -> None:
    for name in ("roboflow-yolo", "createml"):
        EXPORTS[name][0](tmp_path)
    with pytest.raises(DataError, match=r"data\.yaml") as caught:
        open_data(tmp_path)
    assert "annotations.json (createml)" in caught.value.message
    assert "--format yolo or --format createml" in caught.value.hint
    assert len(open_data(tmp_path, form="yolo", split="test").images) == 1
    with pytest.raises(ConfigError, match="format is 'kitti'"):
        open_data(tmp_path, form="kitti")  # type: ignore[arg-type]


def test_what_is_no_data_set(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "absent", "no data set at"),
        (tmp_path, "no data set at .*: it has no annotations.json"),
    ):
        with pytest.raises(DataError, match=message):
            open_data(path)
    (tmp_path / "person-00000-of-00001.tfrecord").touch()
    with pytest.raises(DataError, match="holds records"):
        open_data(tmp_path)
    photograph = tmp_path / "a.jpg"
    put(photographs()[0][0], photograph)
    with pytest.raises(DataError, match="is an image, not a data set"):
        open_data(photograph)
    for form, message in (("yolo", "no data.yaml"), ("voc", "no XML"), ("createml", "CreateML"), ("coco", "no COCO")):
        with pytest.raises(DataError, match=message):
            open_data(tmp_path, form=form)  # type: ignore[arg-type]


def test_a_file_is_a_data_set_too(tmp_path: Path) -> None:
    ultralytics_yolo(tmp_path / "yolo")
    EXPORTS["createml"][0](tmp_path / "createml")
    EXPORTS["official-coco"][0](tmp_path / "coco")
    assert len(open_data(tmp_path / "yolo" / "coco8.yaml").images) == 4
    assert len(open_data(tmp_path / "createml" / "annotations.json").images) == 4
    coco = open_data(tmp_path / "coco" / "annotations" / "instances_val2017.json")
    assert [image.image_id for image in coco.images] == [201, 202]  # a file alone keeps its ids
    assert coco.folder == tmp_path / "coco" / "val2017"
    assert read_labelled(coco.images[0], coco.folder) is not None


def test_an_image_that_cannot_be_read_keeps_its_boxes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ultralytics_yolo(tmp_path)
    name = photographs()[0][0]
    (tmp_path / "images" / "train" / name).write_bytes(b"no image")
    table = open_data(tmp_path)
    assert table.images[0].width == 1 and len(table.class_ids) == 4
    assert "1 images cannot be read; the first" in caplog.text and name in caplog.text


def test_sides_are_those_of_the_image_as_it_is_shown(tmp_path: Path) -> None:
    name, width, height = photographs()[0]
    ultralytics_yolo(tmp_path)
    path = tmp_path / "images" / "train" / name
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # turned by a quarter
        image.save(path, exif=exif)
    table = open_data(tmp_path)
    assert (table.images[0].width, table.images[0].height) == (height, width)
    assert read_labelled(table.images[0], table.folder).shape == (width, height, 3)


@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("label-studio-coco", "result.json", '"dog"', '"\\u0001"'),
        ("label-studio-coco", "result.json", '"dog"', '" "'),
        ("label-studio-yolo", "classes.txt", "dog", "\x1b[2J"),
        ("ultralytics-yolo", "coco8.yaml", "1: dog", '1: "\\ud800"'),
        ("createml", "annotations.json", '"dog"', '"\\uffff"'),
    ],
)
def test_a_class_name_that_no_format_can_say(name: str, file: str, old: str, new: str, tmp_path: Path) -> None:
    EXPORTS[name][0](tmp_path)
    path = tmp_path / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=r"class name .* is refused"):
        open_data(tmp_path)
    assert len(open_data(tmp_path, classes=["person"]).class_ids) == 3


def test_a_split_whose_file_names_no_image_is_not_lost(tmp_path: Path) -> None:
    roboflow_createml(tmp_path)
    path = tmp_path / "valid" / "_annotations.createml.json"
    path.write_text(path.read_text().replace('"image"', '"picture"'))
    with pytest.raises(DataError, match="is refused"):
        open_data(tmp_path)


@pytest.mark.parametrize("split", ["", " ", "..", "a/b", "..\\b", "/tmp/x", "C:x", "a\x1b"])
def test_a_split_that_no_folder_can_be_called(split: str, tmp_path: Path) -> None:
    EXPORTS["label-studio-coco"][0](tmp_path)
    document = json.loads((tmp_path / "result.json").read_text())
    document["images"][0]["split"] = split
    (tmp_path / "result.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"the split .* is refused") as caught:
        open_data(tmp_path)
    assert "train, val, test" in caught.value.hint
