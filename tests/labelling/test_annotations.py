import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.errors import DataError
from fcoslite.labelling.annotations import HumanBoxes, coco_document, read_human_boxes
from fcoslite.labelling.journal import Entry

Box = tuple[float, float, float, float]


def entry(name: str, *boxes: Box, frame: int | None = None) -> Entry:
    return Entry(name, "v.avi", 100, 200, 1, list(boxes), [0.5] * len(boxes), [1] * len(boxes), frame, 1.5)


def humans(tmp_path: Path, *items: dict[str, object], name: str = "a.jpg") -> HumanBoxes:
    document = {
        "info": {"year": 2026},
        "licenses": [{"id": 4}],
        "images": [{"id": 30, "file_name": name, "height": 100, "width": 200, "license": 4}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 7, "name": "person"}],
        "annotations": [{"id": 50 + row, "image_id": 30, **item} for row, item in enumerate(items)],
    }
    path = tmp_path / "humans.json"
    path.write_text(json.dumps(document))
    return read_human_boxes(path)


def test_a_document_that_readers_take(tmp_path: Path) -> None:
    entries = [entry("b-000007.jpg", (1, 2, 31, 42), (50, 50, 60, 70), frame=7), entry("c.jpg")]
    document = coco_document(entries, ["person"], None)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(document, default=lambda raw: json.loads(bytes(raw))))
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
    document = coco_document([entry("a.jpg", box)], ["person"], humans(tmp_path, drawn))
    first, *rest = document["annotations"]
    assert "score" not in first and {key: first[key] for key in drawn} == drawn
    assert [(item["category_id"], item["score"]) for item in rest] == [(7, 0.5)] * added


def test_licences_and_other_images_stay(tmp_path: Path) -> None:
    merged = humans(tmp_path, person(10, 10, 20, 40), name="train/a.jpg")
    document = coco_document([entry("x.jpg", (1, 2, 3, 4)), entry("a.jpg")], ["cat"], merged)
    assert document["images"][1]["license"] == 4 and document["images"][1]["file_name"] == "a.jpg"
    assert document["categories"] == [{"id": 3, "name": "dog"}, {"id": 7, "name": "person"}, {"id": 8, "name": "cat"}]
    assert [(item["image_id"], item["category_id"]) for item in document["annotations"]] == [(1, 8), (2, 7)]
    assert merged.sides("a.jpg") == (100, 200) and merged.sides("x.jpg") is None


def test_two_images_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "humans.json"
    images = [{"id": row, "file_name": f"{row}/a.jpg", "height": 1, "width": 1} for row in (1, 2)]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}))
    with pytest.raises(DataError, match=r"two images called a\.jpg: \w+/a\.jpg and \w+/a\.jpg"):
        read_human_boxes(path)
