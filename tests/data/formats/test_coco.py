import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from fcoslite.data.dataset import LabelledImage
from fcoslite.data.formats.coco import read_coco, to_coco_json
from fcoslite.data.formats.table import xywh_to_xyxy
from fcoslite.errors import ConfigError, DataError


def write_coco(folder: Path, boxes_xywh: list[list[float]], **changes: object) -> Path:
    """A file of one 100 x 50 image with these boxes of class `person` (category 7)."""
    document: dict[str, object] = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 50, "width": 100}],
        "annotations": [
            {"id": 10 + index, "image_id": 5, "category_id": 7, "bbox": box, "area": 9.5, "iscrowd": 0}
            for index, box in enumerate(boxes_xywh)
        ],
        "categories": [{"id": 7, "name": "person"}, {"id": 3, "name": "dog"}],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(document | changes))
    return path


def test_agrees_with_pycocotools(demo_data: Path) -> None:
    data = read_coco(demo_data / "annotations.json", demo_data / "images")
    oracle = COCO(str(demo_data / "annotations.json"))
    categories = oracle.loadCats(sorted(oracle.getCatIds()))
    assert data.class_names == tuple(category["name"] for category in categories)
    assert [image.image_id for image in data.images] == sorted(oracle.getImgIds())
    for image in data.images:
        expected = oracle.loadAnns(sorted(oracle.getAnnIds(image.image_id)))
        assert image.boxes_xyxy.dtype == np.float32 and image.boxes_xyxy.shape == (len(expected), 4)
        boxes_xywh = np.array([item["bbox"] for item in expected], np.float64).reshape(-1, 4)
        np.testing.assert_allclose(image.boxes_xyxy, xywh_to_xyxy(boxes_xywh), atol=0.02)
        np.testing.assert_allclose(image.areas, [item["area"] for item in expected], rtol=1e-6)
        assert image.iscrowd.tolist() == [bool(item["iscrowd"]) for item in expected]
        ids = [categories[class_id - 1]["id"] for class_id in image.class_ids]
        assert ids == [item["category_id"] for item in expected]


def test_chosen_classes_are_numbered_in_the_given_order_and_negatives_kept(
    demo_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    every = read_coco(demo_data / "annotations.json", demo_data / "images")
    some = read_coco(demo_data / "annotations.json", demo_data / "images", ["car", "person"])
    assert some.class_names == ("car", "person")
    assert len(some.images) == len(every.images)
    for before, after in zip(every.images, some.images, strict=True):
        names = [every.class_names[class_id - 1] for class_id in before.class_ids]
        chosen = [some.class_names[class_id - 1] for class_id in after.class_ids]
        assert chosen == [name for name in names if name in ("car", "person")]
    assert any(len(image.class_ids) == 0 for image in some.images)
    assert caplog.text == ""  # what was not asked for is nothing to warn of


def test_the_images_folder_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images folder"):
        read_coco(write_coco(tmp_path, []), tmp_path / "absent")


@pytest.mark.parametrize("asked", ["persn", "PERSON"])
def test_unknown_class_names_the_closest(tmp_path: Path, asked: str) -> None:
    with pytest.raises(ConfigError, match=f"no class '{asked}'") as caught:
        read_coco(write_coco(tmp_path, []), tmp_path, [asked])
    assert "did you mean 'person'?" in caught.value.hint and "dog" in caught.value.hint


boxes_xyxy = st.tuples(st.integers(0, 99), st.integers(0, 49), st.integers(1, 50), st.integers(1, 25)).map(
    lambda t: [t[0], t[1], min(100, t[0] + t[2]), min(50, t[1] + t[3])]
)


@given(boxes=st.lists(boxes_xyxy, max_size=5), data=st.data())
def test_written_json_reads_back(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[list[int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    class_ids = data.draw(st.lists(st.integers(1, 2), min_size=len(boxes), max_size=len(boxes)))
    image = LabelledImage(
        image_id=8,
        file_name="a/b.jpg",
        height=50,
        width=100,
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        class_ids=np.array(class_ids, np.int32),
        iscrowd=np.arange(len(boxes)) % 2 == 1,
        areas=np.arange(len(boxes), dtype=np.float32) + 0.5,
        scores=np.linspace(1, 0.08, len(boxes), dtype=np.float32),
    )
    path = folder / "annotations.json"
    path.write_text(json.dumps(to_coco_json([image], ["person", "dog"])))
    [again] = read_coco(path, folder).images
    assert (again.image_id, again.file_name, again.height, again.width) == (8, "a/b.jpg", 50, 100)
    np.testing.assert_array_equal(again.boxes_xyxy, image.boxes_xyxy)
    np.testing.assert_array_equal(again.class_ids, image.class_ids)
    np.testing.assert_array_equal(again.iscrowd, image.iscrowd)
    np.testing.assert_array_equal(again.areas, image.areas)
    np.testing.assert_array_equal(again.scores, image.scores)
