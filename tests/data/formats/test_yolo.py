from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.extract.extract import ExtractResult, extract
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.formats.yolo import label_name, open_yolo
from fcoslite.errors import DataError, FcosliteError
from tests.exports import label_studio_yolo, photographs, put, roboflow_yolo, ultralytics_yolo, write

NAME, WIDTH, HEIGHT = photographs(1)[0]


def run(demo_data: Path, out: Path, **arguments: Any) -> ExtractResult:
    arguments = {"annotations": demo_data / "annotations.json", "images": demo_data / "images"} | arguments
    return extract(out=out, **arguments)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_yolo_labels(demo_data: Path, tmp_path: Path) -> None:
    run(demo_data, tmp_path / "out", classes=("car", "person"), negatives=0.2, yolo_labels=True)
    data = read_coco(tmp_path / "out" / "annotations.json", tmp_path / "out" / "images")
    assert names(tmp_path / "out" / "labels") == [image.file_name.replace(".jpg", ".txt") for image in data.images]
    assert any(image.iscrowd.any() for image in data.images)
    for image in data.images:
        text = (tmp_path / "out" / "labels" / image.file_name).with_suffix(".txt").read_text()
        rows = np.array([line.split() for line in text.splitlines()], np.float64).reshape(-1, 5)
        np.testing.assert_array_equal(rows[:, 0], image.class_ids[~image.iscrowd] - 1)
        centers, sizes = rows[:, 1:3], rows[:, 3:5]
        boxes_xyxy = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)
        scaled = boxes_xyxy * ([image.width, image.height] * 2)
        np.testing.assert_allclose(scaled, image.boxes_xyxy[~image.iscrowd], atol=1e-3)


@pytest.fixture
def one(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data set of one photograph with these labels; its data.yaml."""

    def make(labels: str | bytes, yaml: str = "names: [person, dog]\ntrain: images\n") -> Path:
        put(NAME, tmp_path / "images" / NAME)
        path = (tmp_path / "labels" / NAME).with_suffix(".txt")
        write(path, "")
        path.write_bytes(labels if isinstance(labels, bytes) else labels.encode())
        write(tmp_path / "data.yaml", yaml)
        return tmp_path / "data.yaml"

    return make


def corners(path: Path) -> np.ndarray:
    """As fractions."""
    boxes = open_yolo(path).boxes_xywh
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) / [WIDTH, HEIGHT, WIDTH, HEIGHT]


def test_lines_of_every_kind(one: Callable[..., Path]) -> None:
    path = one(
        "0 0.5 0.5 0.2 0.4\n"
        "\n"
        "1.0\t.5 .5 .2 .4 0.75\r\n"  # of a detector, with its score
        "0 0.1 0.2 0.5 0.1 0.3 0.8\n"  # polygon of three points
        "1 0.1 0.1 0.4 0.2 0.3 0.5 0 0.4"  # turned box: its four corners
    )
    expected = [[0.4, 0.3, 0.6, 0.7], [0.4, 0.3, 0.6, 0.7], [0.1, 0.1, 0.5, 0.8], [0, 0.1, 0.4, 0.5]]
    np.testing.assert_allclose(corners(path), expected, atol=1e-9)
    table = open_yolo(path)
    assert table.class_ids.tolist() == [1, 2, 1, 2] and table.scores.tolist() == [1, 0.75, 1, 1]


def test_key_points_follow_a_box(one: Callable[..., Path]) -> None:
    path = one("0 0.5 0.5 0.2 0.4 0.1 0.1 2 0.9 0.9 0\n", "names: [person]\ntrain: images\nkpt_shape: [2, 3]\n")
    np.testing.assert_allclose(corners(path), [[0.4, 0.3, 0.6, 0.7]], atol=1e-9)


def test_boxes_are_cut_or_dropped_and_counted(one: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    path = one("0 0.95 0.5 0.2 0.4\n0 0.5 0.5 0 0.4\n0 1.005 0.5 0.002 0.1\n0 0.5 0.5 0.1 0.1\n")
    table = open_yolo(path)
    assert (len(table.class_ids), table.clipped_boxes, table.dropped_boxes) == (2, 1, 2)
    label = f"labels/{NAME[:-4]}.txt"
    assert f"2 annotations have a box without area inside its image and are left out; the first is {label}, line 2" in (
        caplog.text
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 412.8 0.5 0.2 0.4", "line 2: .*no fraction"),
        ("0 0.5 0.5 -0.2 0.4", "line 2: .*no fraction"),
        ("0 nan 0.5 0.2 0.4", "line 2: .*no fraction"),
        ("0 0.1 0.1 0.4 0.2 0.3 1.5", "line 2: .*no fraction"),
        ("2 0.5 0.5 0.2 0.4", "line 2: there is no class 2"),
        ("-1 0.5 0.5 0.2 0.4", "line 2: there is no class -1"),
        ("0.5 0.5 0.5 0.2 0.4", "line 2: there is no class 0.5"),
        ("person 0.5 0.5 0.2 0.4", "line 2: .*what is no number"),
        ("0 0,5 0.5 0.2 0.4", "line 2: .*what is no number"),
        ("0 0.5 0.5 0.2", "line 2: 4 numbers"),
        ("0 0.5 0.5 0.2 0.4 0.5 0.5 0.5", "line 2: 8 numbers"),
        ("0 0.5 0.5 0.2 0.4 1.5", "line 2: the score 1.5"),
        (b"0 0.5 \xff", "not UTF-8 text: byte 24"),
    ],
)
def test_a_line_that_cannot_be_meant_is_named(one: Callable[..., Path], line: str | bytes, message: str) -> None:
    line = line if isinstance(line, bytes) else line.encode()
    with pytest.raises(DataError, match=message) as caught:
        open_yolo(one(b"0 0.5 0.5 0.2 0.4\n" + line))
    assert f"{NAME[:-4]}.txt" in caught.value.message and caught.value.hint


def test_boxes_with_the_number_of_a_track_are_no_triangles(one: Callable[..., Path]) -> None:
    tracked = "0 0.5 0.5 0.2 0.4 0.9 "
    with pytest.raises(DataError, match=r"line 2: .*no fraction") as caught:
        open_yolo(one(f"{tracked}1\n{tracked}2\n"))
    assert "number of a track" in caught.value.hint
    with pytest.raises(DataError, match="every line of its labels has 7 numbers, and the last is 0 or 1") as caught:
        open_yolo(one(f"{tracked}1\n" * 3))
    assert "number of a track" in caught.value.hint
    triangle = "0 0.5 0.5 0.2 0.4 0.9 1\n"
    assert corners(one(f"{triangle}0 0.5 0.5 0.2 0.4\n"))[0] == pytest.approx([0.2, 0.4, 0.9, 1])


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [person\ntrain: images", r"data\.yaml, line 2 is not valid YAML"),
        ("- person", "does not describe"),
        ("train: images", "names is None"),
        ("names: []\ntrain: images", r"names is \[\]"),
        ("names: [person, no]\ntrain: images", "class 1 is called False"),
        ("names: {a: person}\ntrain: images", "has the class 'a'"),
        ("names: [person, person]\ntrain: images", "name 'person' twice: for ids 0 and 1"),
        ("names: {0: a, 2: person, 5: 'person '}\ntrain: images", "categories 2 and 5 differ only in spaces"),
        ("names: [person]\nnc: 2\ntrain: images", "nc is 2, but names has 1"),
        ("names: [person]", "leads to no image"),
        ("names: [person]\ntrain: absent", r"leads to no image \(train: absent\)"),
        ("names: [person]\ntrain: {a: 1}", "train is {'a': 1}"),
        ("names: [person]\ntrain: data.yaml", r"is no folder and no \.txt"),
        ("names: [person]\npath: /usr\ntrain: images", "its path /usr is outside of the folder it lies in"),
        ("names: [person]\ntrain: ../../../../etc", "leads to no image"),
    ],
)
def test_a_description_that_cannot_be_used(one: Callable[..., Path], yaml: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_yolo(one("", yaml))
    assert "data.yaml" in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    "yaml",
    [
        "names: {0: person}\ntrain: /content/people/images\n",
        "names: {0: person}\npath: /content/people\ntrain: images\n",
        "names: {0: person}\npath: C:\\people\ntrain: images\n",
        "names: {0: person}\npath: ../datasets/people\ntrain: [images, ./images]\n",
        "names: [person]\ntrain: ''\nval: images\n",
    ],
)
def test_paths_of_another_machine_are_found_again(one: Callable[..., Path], yaml: str) -> None:
    assert len(open_yolo(one("0 0.5 0.5 0.2 0.4\n", yaml)).class_ids) == 1


def test_images_of_two_splits_are_taken_once(one: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    path = one("0 0.5 0.5 0.2 0.4\n", "names: [person]\ntrain: images\nval: images\n")  # as in coco128
    assert [image.split for image in open_yolo(path).images] == ["train"]
    assert "1 images of val are in a split before it, too" in caplog.text
    assert [image.split for image in open_yolo(path, split="val").images] == ["val"]


def test_labels_without_an_image_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ultralytics_yolo(tmp_path)
    write(tmp_path / "labels" / "train" / "gone.txt", "0 0.5 0.5 0.2 0.4\n\n0 0.5 0.5 0.1 0.4\n")
    write(tmp_path / "labels" / "train" / "classes.txt", "person\n")
    table = open_yolo(tmp_path / "coco8.yaml")
    assert table.dropped_boxes == 2 and len(table.class_ids) == 4
    assert "1 label files with 2 boxes belong to no image" in caplog.text and "gone.txt" in caplog.text


def test_no_label_file_at_all_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(NAME, tmp_path / "images" / NAME)
    write(tmp_path / "data.yaml", "names: [person]\ntrain: images\n")
    assert len(open_yolo(tmp_path / "data.yaml").class_ids) == 0
    assert "no image has a label file" in caplog.text


def test_no_image_at_all_is_said(tmp_path: Path) -> None:
    write(tmp_path / "classes.txt", "person\n")
    write(tmp_path / "labels" / "a.txt", "")
    with pytest.raises(DataError, match="lists no images"):
        open_yolo(tmp_path / "classes.txt")
    put(NAME, tmp_path / "images" / "train" / NAME)
    (tmp_path / "images" / "test").mkdir()
    write(tmp_path / "data.yaml", "names: [person]\ntrain: images/train\ntest: images/test\n")
    with pytest.raises(DataError, match="lists no images"):
        open_yolo(tmp_path / "data.yaml", split="test")


def test_labels_are_written_where_they_are_read(tmp_path: Path) -> None:
    roboflow_yolo(tmp_path / "in")
    run(tmp_path / "in", tmp_path / "out", annotations=tmp_path / "in", images=None, yolo_labels=True)
    extracted = read_coco(tmp_path / "out" / "annotations.json", tmp_path / "out" / "images")
    write(tmp_path / "out" / "data.yaml", "names: [person]\ntrain: images\n")
    table = open_yolo(tmp_path / "out" / "data.yaml")
    assert any("/images/" in image.file_name for image in extracted.images)
    assert len(table.class_ids) == sum(len(image.class_ids) for image in extracted.images) == 3


def test_where_labels_are() -> None:
    assert label_name("images/train/a.jpg") == "labels/train/a.txt"
    assert label_name("images/x/images/a.b.png") == "images/x/labels/a.b.txt"
    assert label_name("train/a.jpg") == "train/a.txt"
    assert label_name("images.jpg") == "images.txt"


_number = st.floats(allow_nan=True) | st.floats(-0.1, 1.1) | st.integers(-1, 3)
_line = st.lists(_number.map(str), max_size=10).map(" ".join)
_text = st.lists(_line | st.text(max_size=12), max_size=5).map("\n".join)


@given(content=_text.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60))
def test_any_label_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    if not folder.exists():
        put(NAME, folder / "images" / NAME)
        write(folder / "data.yaml", "names: [person, dog]\ntrain: images\n")
        (folder / "labels").mkdir()
    (folder / "labels" / NAME).with_suffix(".txt").write_bytes(content)
    try:
        table = open_yolo(folder / "data.yaml")
    except FcosliteError as error:
        assert error.message and error.hint
        return
    lines = [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    assert len(table.class_ids) + table.dropped_boxes == len(lines)
    far = table.boxes_xywh[:, :2] + table.boxes_xywh[:, 2:]
    assert (table.boxes_xywh >= 0).all() and (far <= np.array([WIDTH, HEIGHT]) + 1e-9).all()


@given(
    content=st.binary(max_size=80)
    | st.text(max_size=20).map(lambda text: f"{text}\nimages/{NAME}{text}.jpg".encode("utf-8", "replace"))
)
def test_any_list_of_images_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "listed"
    put(NAME, folder / "images" / NAME)
    write(folder / "data.yaml", "names: [person]\ntrain: list.txt\n")
    (folder / "list.txt").write_bytes(content)
    try:
        assert open_yolo(folder / "data.yaml").images
    except FcosliteError as error:
        assert error.message and error.hint


@given(content=st.binary(max_size=80) | st.text(max_size=80).map(lambda text: f"names: {text}\ntrain: images".encode()))
def test_any_description_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "described"
    put(NAME, folder / "images" / NAME)
    (folder / "data.yaml").write_bytes(content)
    try:
        assert len(open_yolo(folder / "data.yaml").images) == 1
    except FcosliteError as error:
        assert error.message and error.hint


@pytest.mark.parametrize(
    ("text", "told"), [("", r"names is \[\]"), ("person\n\ndog\n", "class 1 is called ''"), ("a\na", "twice")]
)
def test_classes_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    label_studio_yolo(tmp_path)
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=told):
        open_yolo(tmp_path / "classes.txt")
