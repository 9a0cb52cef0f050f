"""COCO files as other tools write them: taken where they can mean one thing, said with a count."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.formats.coco import encode_annotations
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.errors import DataError, FcosliteError
from tests.exports import photographs, put

NAME, WIDTH, HEIGHT = photographs(1)[0]
IMAGE = {"id": 5, "file_name": NAME, "height": HEIGHT, "width": WIDTH, "license": 3}
ANNOTATION = {"id": 1, "image_id": 5, "category_id": 7, "bbox": [1, 2, 30, 40], "area": 9.5, "iscrowd": 0}
CATEGORY = {"id": 7, "name": "person"}
SQUARE = [[10, 20, 40, 20, 40, 60, 10, 60]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(NAME, tmp_path / "images" / NAME)
    return tmp_path


def read(folder: Path, image: Any = None, *annotations: Any, **document: Any) -> AnnotationTable:
    path = folder / "a.json"
    whole = {"images": [IMAGE | (image or {})], "annotations": [ANNOTATION | one for one in annotations or ({},)]}
    path.write_text(json.dumps(whole | {"categories": [CATEGORY]} | document), "utf-8")
    return open_coco(path, places=[folder / "images"])


def test_numbers_as_text(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    as_text = {"id": "1", "image_id": "5", "category_id": "7", "bbox": ["1", "2", "30.0", 40], "area": "9.5"}
    table = read(
        folder, {"id": "5", "width": str(WIDTH)}, as_text | {"iscrowd": "1"}, categories=[CATEGORY | {"id": "7"}]
    )
    assert (table.boxes_xywh.tolist(), table.areas.tolist(), table.iscrowd.tolist()) == (
        [[1, 2, 30, 40]],
        [9.5],
        [True],
    )
    assert "11 numbers are written as text, and are taken as numbers" in caplog.text


def test_spaces_around_names(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = read(folder, categories=[{"id": 7, "name": " person\u00a0", "supercategory": "person "}])
    assert table.class_names == ("person",) and len(table.class_ids) == 1
    assert "1 category names have spaces around them, and are taken without" in caplog.text
    assert [one["name"] for one in json.loads(encode_annotations(table, [0]))["categories"]] == ["person"]


def test_names_that_differ_in_case_are_asked_about(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    categories = [CATEGORY, {"id": 8, "name": "Person"}]
    assert read(folder, categories=categories).class_names == ("person", "Person")
    assert "classes that look alike: 'person' and 'Person': if they are one, give it one name there" in caplog.text


def test_backslashes(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(NAME, folder / "images" / "a" / NAME)
    table = read(folder, {"file_name": f"a\\{NAME}"})
    assert table.images[0].file_name == f"a/{NAME}"
    assert "1 file names have backslashes, and are taken with slashes" in caplog.text


@pytest.mark.parametrize("sides", [{"width": None}, {"height": 0}, {"width": None, "height": None}])
def test_sides_that_are_not_told(folder: Path, caplog: pytest.LogCaptureFixture, sides: dict[str, Any]) -> None:
    table = read(folder, sides)
    assert (table.images[0].width, table.images[0].height) == (WIDTH, HEIGHT)
    assert "1 images have no width or height: their header tells" in caplog.text
    with pytest.raises(DataError, match=r"\$\.images\[0\]\."):  # nobody knows where the image is
        open_coco(folder / "a.json")


def test_nulls(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = read(folder, None, {"iscrowd": None, "area": None, "score": None})
    assert (table.iscrowd.tolist(), table.areas.tolist()) == ([False], [1200])
    assert "1 annotations have no `iscrowd`: no crowds" in caplog.text
    table = read(folder, None, {"id": None}, {"id": 4}, {"id": None})
    assert table.annotation_ids.tolist() == [4, 5, 6]
    assert "2 annotations have no id, and get one" in caplog.text


@pytest.mark.parametrize("bbox", [{"bbox": None}, {"bbox": []}, {}])
def test_polygons_without_a_box(folder: Path, caplog: pytest.LogCaptureFixture, bbox: dict[str, Any]) -> None:
    annotation = {key: value for key, value in ANNOTATION.items() if key != "bbox"}
    both = [annotation | bbox | {"id": 1, "segmentation": SQUARE}, ANNOTATION | {"id": 2, "segmentation": SQUARE}]
    table = read(folder, annotations=both)
    assert table.boxes_xywh.tolist() == [[10, 20, 30, 40], [1, 2, 30, 40]]
    assert "1 annotations have no box: that around their polygons is taken" in caplog.text


def test_neither_box_nor_polygon_is_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = read(
        folder, None, {"bbox": None, "segmentation": []}, {"id": 2}, {"id": 3, "bbox": [], "segmentation": [[]]}
    )
    assert (table.annotation_ids.tolist(), table.dropped_boxes) == ([2], 2)
    assert "2 annotations have neither box nor polygon and are left out" in caplog.text


def test_what_is_written_is_put_right(folder: Path) -> None:
    table = read(folder, {"id": "5", "width": None}, {"iscrowd": None})
    document = json.loads(encode_annotations(table, [0]))
    assert document["images"] == [IMAGE]  # the licence, too
    assert document["annotations"][0]["iscrowd"] == 0


def test_the_project_of_roboflow_is_no_class(folder: Path) -> None:
    root = {"id": 0, "name": "people-counter", "supercategory": "none"}
    below = [
        CATEGORY | {"supercategory": "people-counter"},
        {"id": 8, "name": "dog", "supercategory": "people-counter"},
    ]
    assert read(folder, categories=[root, *below]).class_names == ("person", "dog")
    assert read(folder, None, {"category_id": 0}, categories=[root, *below]).class_names[0] == "people-counter"
    alone = [root, CATEGORY, {"id": 8, "name": "dog"}]  # marked by `none` alone
    assert read(folder, categories=alone).class_names == ("person", "dog")
    unmarked = [CATEGORY | {"supercategory": "none"}, {"id": 8, "name": "dog", "supercategory": "none"}]
    assert read(folder, None, {"category_id": 8}, categories=unmarked).class_names == ("person", "dog")
    plain = [CATEGORY | {"supercategory": "person"}, {"id": 8, "name": "dog", "supercategory": "animal"}]  # COCO's
    assert read(folder, None, {"category_id": 8}, categories=plain).class_names == ("person", "dog")
    assert open_coco(folder / "a.json", ["person"]).class_names == ("person",)


_value = (
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=4) | st.sampled_from(["5", "7"])
)
_polygon = st.lists(st.lists(st.integers(-9, 99) | st.sampled_from(["4", None]), max_size=8), max_size=2)
_odd = st.fixed_dictionaries(
    {},
    optional={
        "id": _value,
        "image_id": _value | st.just("5"),
        "category_id": _value,
        "bbox": _value | st.lists(_value | st.integers(1, 60), min_size=3, max_size=4),
        "segmentation": _value | _polygon,
        "iscrowd": _value,
        "area": _value,
    },
)


@given(annotations=st.lists(_odd, max_size=4), image=st.dictionaries(st.sampled_from(list(IMAGE)), _value, max_size=2))
def test_every_box_is_read_or_counted(
    tmp_path_factory: pytest.TempPathFactory, annotations: list[Any], image: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "loose"
    put(NAME, folder / "images" / NAME)
    try:
        table = read(folder, image, annotations=[{"image_id": 5, "category_id": 7} | one for one in annotations])
    except FcosliteError as error:
        assert error.message and error.hint and "a.json" in error.message
        return
    foreign = [one for one in annotations if str(one.get("category_id", 7)) not in ("7", "7.0")]  # warned of
    assert len(table.class_ids) + table.dropped_boxes + len(foreign) >= len(annotations)
    json.loads(encode_annotations(table, [0]))
