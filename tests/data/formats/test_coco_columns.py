"""Every kind of annotation file: what is read, what is left out with a warning, and what is refused."""

import codecs
import gzip
import hashlib
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fcoslite.data.formats.box_forms as box_forms
import fcoslite.data.formats.coco as coco_module
import fcoslite.data.formats.json_file as coco_file_module
import fcoslite.data.formats.json_pieces as json_pieces
import fcoslite.data.formats.table as table_module
from fcoslite.data.capture import Capture, recorded_at
from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.formats.coco import encode_annotations, table_digest
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.data.formats.table import to_dataset
from fcoslite.errors import ConfigError, DataError, FcosliteError

IMAGE = {"id": 5, "file_name": "a.jpg", "height": 50, "width": 100}
ANNOTATION = {"id": 1, "image_id": 5, "category_id": 7, "bbox": [1, 2, 30, 40], "area": 9.5, "iscrowd": 0}
CATEGORY = {"id": 7, "name": "person"}
DOCUMENT: dict[str, Any] = {"images": [IMAGE], "annotations": [ANNOTATION], "categories": [CATEGORY]}
WHOLE = json.dumps(DOCUMENT).encode()


def write(folder: Path, content: bytes | dict[str, Any]) -> Path:
    path = folder / "instances.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def of_images(*changes: dict[str, Any]) -> dict[str, Any]:
    return DOCUMENT | {"images": [IMAGE | change for change in changes]}


def of_annotations(*changes: dict[str, Any]) -> dict[str, Any]:
    return DOCUMENT | {"annotations": [ANNOTATION | {"id": 10 + n} | change for n, change in enumerate(changes)]}


def without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}


def expect_refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        open_coco(path)
    assert str(path) in caught.value.message and caught.value.hint
    return caught.value


def boxes(path: Path) -> list[list[float]]:
    return open_coco(path).boxes_xywh.tolist()


@pytest.mark.parametrize("number", [9.5, "9.5"])  # as COCO has it, and as text, which is read another way
def test_what_is_to_be_asked_is_ignored_as_a_crowd_is(tmp_path: Path, number: float | str) -> None:
    told = of_annotations({"ask": True, "score": 0.6}, {"ask": False}, {"area": number}, {"iscrowd": 1})
    assert open_coco(write(tmp_path, told)).iscrowd.tolist() == [True, False, False, True]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    assert boxes(write(tmp_path, codecs.BOM_UTF8 + WHOLE)) == [[1, 2, 30, 40]]
    broken = codecs.BOM_UTF8 + WHOLE.replace(b"[1, 2", b"[1, #")
    error = expect_refusal(write(tmp_path, broken))
    assert f"at byte {broken.index(b'#')}:" in error.message and "[1, #, 30, 40]" in error.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "cut short: the JSON is not complete at its end, byte 2"),
        (WHOLE[:-20], rf"cut short.*byte {len(WHOLE) - 20}"),
        (WHOLE[:40], r"cut short.*byte 40"),
        (bytes(100), "not valid JSON at byte 0"),
        (WHOLE + b"xx", r"not valid JSON at byte \d+: trailing"),
        (WHOLE + WHOLE, r"not valid JSON at byte \d+: trailing"),
        (str(DOCUMENT).encode(), "not valid JSON at byte 1"),  # Python's repr
        (gzip.compress(WHOLE), "not UTF-8 text: byte 1 is 0x8b"),
        (json.dumps(DOCUMENT).encode("utf-16"), "not UTF-8 text: byte 0 is 0xff"),
        (WHOLE.replace(b"a.jpg", b"\xe4.jpg"), rf"not UTF-8 text: byte {WHOLE.index(b'a.jpg')} is 0xe4"),
        (WHOLE[:-1] + b',"info":"\xe4"}', rf"not UTF-8 text: byte {len(WHOLE) + 8} is 0xe4"),
        (WHOLE + b"\xc3", rf"not UTF-8 text: byte {len(WHOLE)} is 0xc3"),
        (WHOLE.replace(b"a.jpg", b"\\ud800.jpg"), "not valid JSON at byte"),
        (b'{"info":' + b"[" * 100_000, "nested too deeply"),
        (b'{"annotations":[' + b'{"segmentation":' * 100_000, "nested too deeply"),
        (b"null", "Expected `object`, got `null`"),
        (b"[]", "Expected `object`, got `array`"),  # COCO's results format is a list
        (b"{}", "required field `images`"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_is_no_json_of_the_format(tmp_path: Path, content: bytes, message: str) -> None:
    assert re.search(message, expect_refusal(write(tmp_path, content)).message)


def test_the_place_of_a_wrong_byte_is_found_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.dumps(DOCUMENT | {"info": "ä€😀" * 20}, ensure_ascii=False).encode()
    for size in range(1, 8):
        monkeypatch.setattr(coco_file_module, "_UTF8_CHUNK", size)
        assert boxes(write(tmp_path, content)) == [[1, 2, 30, 40]]
        broken = content.replace("😀".encode(), b"\xf0\x9f\x98", 1)
        assert f"byte {broken.index(bytes([0xF0, 0x9F, 0x98]))} " in expect_refusal(write(tmp_path, broken)).message


def test_a_score_says_how_sure_a_detector_was(tmp_path: Path) -> None:
    path = write(tmp_path, of_annotations({}, {"score": 0.4}, {"score": 1}, {"score": None}))
    assert open_coco(path).scores.tolist() == [1, 0.4, 1, 1]


def test_what_a_human_is_to_be_asked_about_counts_as_a_crowd(tmp_path: Path) -> None:
    path = write(tmp_path, of_annotations({}, {"ask": True, "score": 0.6}, {"ask": False}, {"iscrowd": 1}))
    assert open_coco(path).iscrowd.tolist() == [False, True, False, True]
    loose = of_annotations({"id": "10"}, {"ask": 1}, {"ask": 0}, {"ask": None}, {"ask": True, "iscrowd": None})
    assert open_coco(write(tmp_path, loose)).iscrowd.tolist() == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("score", "problem"), [(0, "> 0.0"), (2, "<= 1.0"), (-0.5, "> 0.0"), ("high", "got 'high'"), ([0.5], "got `array`")]
)
def test_a_score_that_is_none_is_refused_with_its_place(tmp_path: Path, score: object, problem: str) -> None:
    error = expect_refusal(write(tmp_path, of_annotations({}, {"score": score})))
    assert problem in error.message and "`$.annotations[1].score`" in error.message
    assert "above 0 and at most 1" in error.hint
    not_a_number = WHOLE.replace(b'"iscrowd": 0', b'"score": NaN')
    assert "NaN" in expect_refusal(write(tmp_path, not_a_number)).hint


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_python_writes_numbers_that_json_has_not(tmp_path: Path, number: str) -> None:
    error = expect_refusal(write(tmp_path, WHOLE.replace(b"[1,", f"[{number},".encode())))
    assert "at byte" in error.message and "NaN or Infinity" in error.hint and f"[{number}, 2, 30" in error.hint


def test_no_file(tmp_path: Path) -> None:
    assert "no annotation file" in expect_refusal(tmp_path / "absent.json").message
    assert "no annotation file" in expect_refusal(tmp_path).message


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (of_images(), "lists no images"),
        (DOCUMENT | {"categories": []}, "lists no categories"),
        (DOCUMENT | {"categories": None}, r"Expected `array`, got `null` - at `\$.categories`"),
        (DOCUMENT | {"categories": [CATEGORY, CATEGORY | {"id": 8}]}, "category name 'person' twice: for ids 7 and 8"),
        (DOCUMENT | {"categories": [CATEGORY, CATEGORY | {"name": "x"}]}, "category id 7 twice: for 'person' and 'x'"),
        (DOCUMENT | {"images": [without(IMAGE, "height")]}, r"images\[0\].*height"),
        (DOCUMENT | {"images": [None]}, r"an image needs id.*images\[0\]"),
        (DOCUMENT | {"images": {"5": IMAGE}}, r"Expected `array`, got `object` - at `\$.images`"),
        (of_images({}, {"file_name": "b.jpg"}), "image id 5 twice: for a.jpg and b.jpg"),
        (of_images({}, {"id": 6}), "one file_name for two images: a.jpg, for image ids 5 and 6"),
        (of_images({}, {"id": 6, "file_name": "./a.jpg"}), "two images: a.jpg and ./a.jpg, for image ids 5 and 6"),
        (of_images({}, {"id": 6, "file_name": ".//a.jpg"}), "one file_name for two images"),
        *[
            (of_images(change), r"images\[0\]")
            for change in (
                {"id": "x5"},
                {"id": None},
                {"id": 2**63},
                {"id": -1},
                {"id": 5.5},
                {"height": 0},
                {"height": -1},
                {"width": None},
                {"width": "wide"},
                {"width": 10**7},
                {"file_name": 5},
            )
        ],
        (
            DOCUMENT | {"annotations": [{"id": 1, "image_id": 5, "caption": "a dog"}]},
            "`category_id` - at .*annotations.0",
        ),
        (DOCUMENT | {"annotations": [without(ANNOTATION, "bbox")]}, r"`bbox` - at `\$.annotations\[0\]`"),
        (DOCUMENT | {"annotations": [None]}, r"Expected `object`, got `null` - at `\$.annotations\[0\]`"),
        (of_annotations({}, {"id": 10}), "annotation id 10 twice: for a box of image 5 and a box of image 5"),
        *[
            (of_annotations({}, change), rf"at `\$.annotations\[1\].{key}")
            for key, change in (
                ("bbox", {"bbox": [1, 2, 3]}),
                ("bbox", {"bbox": [1, 2, 3, 4, 5]}),
                ("bbox", {"bbox": ["1,5", 2, 3, 4]}),
                ("bbox", {"bbox": None, "segmentation": {"counts": "x", "size": [9, 9]}}),
                ("segmentation", {"bbox": None, "segmentation": [[1, 2, 3]]}),
                ("bbox", {"bbox": [1, 2, 10**400, 4]}),
                ("area", {"area": "large"}),
                ("iscrowd", {"iscrowd": []}),
                ("image_id", {"image_id": "five"}),
                ("image_id", {"image_id": None}),
                ("category_id", {"category_id": 7.5}),
            )
        ],
    ],
)
def test_missing_keys_wrong_types_and_contradictions(tmp_path: Path, document: dict[str, Any], message: str) -> None:
    assert re.search(message, expect_refusal(write(tmp_path, document)).message)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../a.jpg",
        "x/../../a.jpg",
        "..",
        "..\\a.jpg",
        "\\\\server\\a.jpg",
        "C:\\a.jpg",
        "C:/a.jpg",
        "C:a.jpg",
        "",
        "a\0.jpg",
        "a\n.jpg",
        "\x1b[2J",
    ],
)
def test_file_names_that_may_lie_outside_the_folder(tmp_path: Path, name: str) -> None:
    assert repr(name) in expect_refusal(write(tmp_path, of_images({"file_name": name}))).message


@pytest.mark.parametrize("name", ["a b.jpg", "ünï/日本　語.jpg", "..a.jpg", "a..jpg", "x/a.jpg", "~/a.jpg", "a" * 5000])
def test_file_names_that_are_only_unusual(tmp_path: Path, name: str) -> None:
    assert open_coco(write(tmp_path, of_images({"file_name": name}))).images[0].file_name == name


def test_boxes_are_cut_or_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = {
        (10, 20, 30, 15): [10, 20, 30, 15],  # inside
        (-5, 40, 20, 30): [0, 40, 15, 10],  # over the left and lower border
        (90.5, 0, 1e308, 1e308): [90.5, 0, 9.5, 50],  # far over
        (0, 0, 100, 50): [0, 0, 100, 50],  # the whole image
        (0, 0, 100.0000004, 50): [0, 0, 100, 50],  # the same, rounded: cut, and not worth a count
    }
    dropped = [
        (10, 10, 0, 5),  # no width
        (10, 10, 5, -3),  # negative height
        (100, 10, 5, 5),  # outside
        (-1e308, -1e308, 1e308, 1e308),  # far outside
        (50, 10, 1e-9, 5),  # no width in float32
    ]
    path = write(tmp_path, of_annotations(*({"bbox": box, "area": None} for box in (*kept, *dropped))))
    source = open_coco(path)
    assert source.boxes_xywh.tolist() == list(kept.values())
    assert source.areas.tolist() == [width * height for _, _, width, height in kept.values()]
    assert (source.dropped_boxes, source.clipped_boxes) == (5, 2)
    assert "5 annotations have a box without area inside its image and are left out; the first has id 15" in caplog.text


def test_an_impossible_area_gives_way_to_that_of_the_box(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, of_annotations(*({"area": area} for area in (9.5, 0, 5000, -5, 5001, 1e300))))
    assert open_coco(path).areas.tolist() == [9.5, 0, 5000, 1200, 1200, 1200]
    assert "3 annotations have an impossible area; that of the box is taken; the first has id 13" in caplog.text


def test_annotations_of_unknown_images_and_categories_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_coco(write(tmp_path, of_annotations({}, {"image_id": 99}, {"category_id": 99})))
    assert source.annotation_ids.tolist() == [10]
    assert "1 annotations belong to an image that it does not list and are left out; the first has id 11" in caplog.text
    assert "1 annotations are of a category that it does not list and are left out; the first has id 12" in caplog.text


def check_invariants(source: AnnotationTable) -> None:
    """What every caller relies on."""
    images, boxes = len(source.images), source.boxes_xywh
    assert source.starts[0] == 0 and source.starts[-1] == len(boxes) and len(source.starts) == images + 1
    assert (np.diff(source.starts) >= 0).all()
    owners = np.repeat(np.arange(images), np.diff(source.starts))
    sides = np.array([(image.width, image.height) for image in source.images], float)[owners]
    assert np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all() and (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= sides * (1 + 1e-12)).all()
    assert ((source.areas >= 0) & (source.areas <= sides.prod(axis=1))).all()
    assert set(source.class_ids.tolist()) <= set(range(1, len(source.class_names) + 1))
    assert len(set(source.annotation_ids.tolist())) == len(boxes)
    assert all(not Path(image.file_name).is_absolute() for image in source.images)


def open_or_refuse(path: Path) -> AnnotationTable | None:
    """A correct result, or an error with a hint; anything else fails the test."""
    try:
        source = open_coco(path, ["person"])
    except (DataError, ConfigError) as error:
        assert isinstance(error, FcosliteError) and error.message and error.hint
        return None
    check_invariants(source)
    json.loads(encode_annotations(source, range(len(source.images))))  # what is passed on is JSON, too
    return source


_keys = st.sampled_from([*DOCUMENT, *IMAGE, *without(ANNOTATION, "id"), "name", "info"])
_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.integers(0, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["person", "a.jpg"])
)
_trees = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_keys, inner, max_size=8), max_leaves=30
)


@given(_trees)
def test_any_json_tree_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    open_or_refuse(write(tmp_path_factory.getbasetemp(), json.dumps(tree, ensure_ascii=False).encode()))


_small = st.integers(0, 4)
_number = st.integers(-20, 120) | st.floats(-1e3, 1e3) | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200)
@given(
    sides=st.lists(st.tuples(_small, st.integers(1, 100), st.integers(1, 100)), min_size=1, max_size=4),
    annotations=st.lists(
        st.fixed_dictionaries(
            {"id": st.integers(0, 50), "image_id": _small, "category_id": _small, "bbox": st.tuples(*[_number] * 4)},
            optional={"area": st.none() | _number, "iscrowd": st.integers(0, 1) | st.booleans()},
        ),
        max_size=8,
        unique_by=lambda item: item["id"],
    ),
)
def test_boxes_in_the_right_format_come_out_as_they_should(
    tmp_path_factory: pytest.TempPathFactory, sides: list[tuple[int, int, int]], annotations: list[dict[str, Any]]
) -> None:
    by_id = {image_id: (width, height) for image_id, width, height in sides}
    document = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": w, "height": h} for n, (w, h) in by_id.items()],
        "annotations": annotations,
        "categories": [{"id": 2, "name": "dog"}, {"id": 1, "name": "person"}],
    }
    source = open_or_refuse(write(tmp_path_factory.getbasetemp(), document))
    assert source is not None
    # the same rules, one box at a time
    expected = []
    for item in annotations:
        if item["category_id"] == 1 and item["image_id"] in by_id:
            width, height = by_id[item["image_id"]]
            x, y, w, h = item["bbox"]
            x_min, x_max = (min(max(value, 0.0), width) for value in (x, x + w))
            y_min, y_max = (min(max(value, 0.0), height) for value in (y, y + h))
            if np.float32(x_max) > np.float32(x_min) and np.float32(y_max) > np.float32(y_min):
                expected.append((item["image_id"], item["id"], x_min, y_min, x_max, y_max))
    expected.sort()
    owners = np.repeat([image.image_id for image in source.images], np.diff(source.starts))
    assert list(zip(owners.tolist(), source.annotation_ids.tolist(), strict=True)) == [item[:2] for item in expected]
    corners = np.concatenate([source.boxes_xywh[:, :2], source.boxes_xywh[:, :2] + source.boxes_xywh[:, 2:]], axis=1)
    np.testing.assert_allclose(corners, np.array([item[2:] for item in expected]).reshape(-1, 4), atol=1e-9)


_PIECES = [b"null", b"-1", b'"', b"[", b"}", b"1e999", b"\\ud800"]


@settings(max_examples=300)
@given(data=st.data())
def test_any_damage_is_read_or_refused(
    demo_data: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 3) | st.integers(0, 40))
        piece = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"null", b"-1", b'"', b"[", b"}", b"1e999", b"\\ud800"])
        )
        content[start : start + length] = piece
    open_or_refuse(write(tmp_path_factory.getbasetemp(), bytes(content)))


def test_camera_and_time_are_kept_as_they_are(tmp_path: Path) -> None:
    when = {"date_captured": "2026-11-28T22:41:03.120Z", "camera": "door", "why": "moved"}
    table = open_coco(write(tmp_path, of_images(when)))
    assert to_dataset(table).images[0].capture == Capture("door", recorded_at(1795905663.12))
    assert json.loads(encode_annotations(table, [0]))["images"] == [IMAGE | when]
    odd = of_images(when | {"id": "5"})
    assert to_dataset(open_coco(write(tmp_path, odd))).images[0].capture == Capture("door", recorded_at(1795905663.12))


@pytest.mark.parametrize("date", [0, None, "", "soon"])
def test_a_camera_without_a_time_is_told(tmp_path: Path, date: object, caplog: pytest.LogCaptureFixture) -> None:
    table = open_coco(write(tmp_path, of_images({"camera": "door", "date_captured": date})))
    assert to_dataset(table).images[0].capture is None
    assert "1 images name a camera, but no time (date_captured)" in caplog.text
    caplog.clear()
    assert to_dataset(open_coco(write(tmp_path, of_images({"date_captured": date})))).images and not caplog.text


def test_it_is_the_same_however_much_is_read_at_once(demo_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = demo_data / "annotations.json"
    expected = open_coco(path)
    encoded = encode_annotations(expected, range(len(expected.images)))
    for module, name, size in (
        (json_pieces, "_PIECE", 200),
        (table_module, "AT_ONCE", 3),
        (box_forms, "AT_ONCE", 5),
        (coco_module, "_AT_ONCE", 7),
    ):
        monkeypatch.setattr(module, name, size)
    table = open_coco(path)
    for field in fields(AnnotationTable):
        value, other = getattr(table, field.name), getattr(expected, field.name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other)
            assert value.dtype == other.dtype
    assert list(table.images) == list(expected.images)
    assert encode_annotations(table, range(len(table.images))) == encoded
    assert table_digest(table) == hashlib.sha256(encoded).hexdigest()
