import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.data.formats.table import to_dataset
from fcoslite.errors import DataError
from fcoslite.labelling.annotations import HumanBoxes, label_document, read_human_boxes
from fcoslite.labelling.journal import Entry
from tests.exports import EXPORTS, boxes, photographs

Box = tuple[float, float, float, float]


def entry(name: str, *boxes: Box, frame: int | None = None) -> Entry:
    return Entry(name, "v.avi", 100, 200, 1, list(boxes), [0.5] * len(boxes), [1] * len(boxes), frame, 1.5)


def humans(tmp_path: Path, *items: dict[str, object], name: str = "a.jpg") -> HumanBoxes:
    document = {
        "info": {"year": 2026},
        "licenses": [{"id": 4}],
        "images": [{"id": 30, "file_name": name, "height": 100, "width": 200, "license": 4}],
        "categories": [{"id": 3, "name": "dog", "supercategory": "pet"}, {"id": 7, "name": "person"}],
        "annotations": [{"id": 50 + row, "image_id": 30, **item} for row, item in enumerate(items)],
    }
    path = tmp_path / "humans.json"
    path.write_text(json.dumps(document))
    return read_human_boxes(path)


def test_a_document_that_readers_take(tmp_path: Path) -> None:
    entries = [entry("b-000007.jpg", (1, 2, 31, 42), (50, 50, 60, 70), frame=7), entry("c.jpg")]
    document = label_document(entries, ["person"], None).tree()
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(document))
    assert len(open_coco(path, ["person"]).images) == 2
    assert COCO(path).getAnnIds(imgIds=[1]) == [1, 2]
    assert document["annotations"][0] == {
        "id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 0, "score": 0.5,
    }  # fmt: skip
    assert document["images"][0] | {"id": 1, "video": "v.avi", "frame": 7, "seconds": 1.5} == document["images"][0]
    taken = {"camera": "v", "date_captured": "1970-01-01T00:00:01.500Z"}  # the date of a video is not known
    assert document["images"][0] | taken == document["images"][0]
    assert not {"video", "camera", "date_captured"} & set(document["images"][1])


def person(x: float, y: float, width: float, height: float, iscrowd: int = 0) -> dict[str, object]:
    return {"category_id": 7, "bbox": [x, y, width, height], "iscrowd": iscrowd, "area": 123.5}


@pytest.mark.parametrize(
    ("box", "drawn", "added"),
    [
        ((10, 10, 30, 50), person(10, 10, 20, 40), False),  # the same
        ((10, 10, 30, 25), person(10, 10, 20, 40), False),  # its head
        ((20, 10, 40, 50), person(10, 10, 20, 40), True),  # a neighbour
        ((10, 10, 30, 50), person(10, 10, 20, 40) | {"category_id": 3}, True),  # of another class
        ((10, 10, 30, 50), person(0, 0, 22, 100, 1), False),  # 60 % of it in a crowd
        ((10, 10, 30, 50), person(0, 0, 18, 100, 1), True),  # 40 %
    ],
)
def test_what_humans_missed_is_added(tmp_path: Path, box: Box, drawn: dict[str, object], added: bool) -> None:
    document = label_document([entry("a.jpg", box)], ["person"], humans(tmp_path, drawn)).tree()
    first, *rest = document["annotations"]
    assert "score" not in first and {key: first[key] for key in drawn} == drawn
    assert [(item["category_id"], item["score"]) for item in rest] == [(7, 0.5)] * added


def test_licences_and_other_images_stay(tmp_path: Path) -> None:
    merged = humans(tmp_path, person(10, 10, 20, 40), name="train/a.jpg")
    document = label_document([entry("x.jpg", (1, 2, 3, 4)), entry("a.jpg")], ["cat"], merged).tree()
    assert document["images"][1]["license"] == 4 and document["images"][1]["file_name"] == "a.jpg"
    categories = [(one["id"], one["name"], one["supercategory"]) for one in document["categories"]]
    assert categories == [(3, "dog", "pet"), (7, "person", ""), (8, "cat", "")]
    assert [(item["image_id"], item["category_id"]) for item in document["annotations"]] == [(1, 8), (2, 7)]
    assert merged.sides("a.jpg") == (100, 200) and merged.sides("x.jpg") is None


@pytest.mark.parametrize("name", ["ultralytics-yolo", "roboflow-voc", "createml", "roboflow-coco"])
def test_humans_may_have_drawn_in_any_format(name: str, tmp_path: Path) -> None:
    EXPORTS[name][0](tmp_path / "in")
    names = [file for file, _, _ in photographs()]
    sides = {file: (height, width) for file, width, height in photographs()}
    entries = [Entry(file, file, *sides[file], 1, [], [], []) for file in names]
    merged = read_human_boxes(tmp_path / "in")
    assert all(merged.sides(file) == sides[file] for file in names)
    path = tmp_path / "annotations.json"
    path.write_bytes(label_document(entries, ["person"], merged).encode())
    written = to_dataset(open_coco(path))
    assert sorted(written.class_names) == ["dog", "person"] and min(written.category_ids) >= 1
    found = {
        image.file_name: [
            (written.class_names[class_id - 1], *map(round, box))
            for box, class_id in zip(image.boxes_xyxy.tolist(), image.class_ids, strict=True)
        ]
        for image in written.images
    }
    assert {file: sorted(drawn) for file, drawn in found.items()} == {
        file: sorted(drawn) for file, drawn in boxes().items()
    }
    assert {image.split for image in written.images} == set(EXPORTS[name][2])


def test_two_images_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "humans.json"
    images = [{"id": row, "file_name": f"{row}/a.jpg", "height": 1, "width": 1} for row in (1, 2)]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}))
    with pytest.raises(DataError, match=r"two images called a\.jpg: \w+/a\.jpg and \w+/a\.jpg"):
        read_human_boxes(path)
