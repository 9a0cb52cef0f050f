import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.formats.createml import open_createml
from fcoslite.errors import DataError, FcosliteError
from tests.exports import createml_items, photographs, put

NAME, WIDTH, HEIGHT = photographs(1)[0]


def one(folder: Path, document: Any) -> Path:
    put(NAME, folder / NAME)
    path = folder / "annotations.json"
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return path


def item(*boxes: tuple[float, float, float, float], **more: Any) -> dict[str, Any]:
    annotations = [
        {"label": "person", "coordinates": dict(zip(("x", "y", "width", "height"), box, strict=True))} for box in boxes
    ]
    return {"image": NAME, "annotations": annotations} | more


def test_x_and_y_are_the_centre(tmp_path: Path) -> None:
    assert open_createml(one(tmp_path, [item((60, 95, 100, 150))])).boxes_xywh.tolist() == [[10, 20, 100, 150]]


def test_the_keys_of_older_tools(tmp_path: Path) -> None:
    [new] = createml_items(photographs(1))
    old = {"imagefilename": new["image"], "annotation": new["annotations"]}
    assert open_createml(one(tmp_path, [old])).boxes_xywh.tolist() == [[10, 20, 100, 150], [60, 40, 30, 60]]
    assert len(open_createml(one(tmp_path, [new | old])).class_ids) == 4  # both, and none is lost


def test_a_label_with_a_space_more_is_the_same_class(tmp_path: Path) -> None:
    document = item((60, 95, 100, 150), (50, 50, 10, 10))
    document["annotations"][1]["label"] = "person "
    table = open_createml(one(tmp_path, [document]))
    assert table.class_names == ("person",) and len(table.class_ids) == 2


def test_images_elsewhere(tmp_path: Path) -> None:
    path = one(tmp_path / "labels", createml_items(photographs(1)))
    put(NAME, tmp_path / "images" / NAME)
    (tmp_path / "labels" / NAME).unlink()
    assert open_createml(path, images=tmp_path / "images").images[0].width == WIDTH


def test_boxes_are_cut_or_dropped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = open_createml(one(tmp_path, [item((0, 50, 40, 20), (50, 50, 0, 10), (9999, 50, 10, 10), (50, 50, 10, 10))]))
    assert (len(table.class_ids), table.clipped_boxes, table.dropped_boxes) == (2, 1, 2)
    assert "the first is $[0].annotations[1] of" in caplog.text


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "is empty"),
        (b"[{", "cut short"),
        ({"images": []}, "is not a CreateML file: Expected `array`"),
        ([], "lists no images"),
        ([item(), item()], "twice"),
        ([item(image="../a.jpg")], r"'\.\./a\.jpg' is refused"),
        ([item(image=None)], "'' is refused"),
        ([item((1, 2, "3", 4))], r"\$\[0\]\.annotations\[0\]\.coordinates\.width"),  # type: ignore[arg-type]
        ([{"image": NAME, "annotations": [{"label": "person"}]}], r"coordinates.*\$\[0\]\.annotations\[0\]"),
        ([{"image": NAME, "annotations": [{"coordinates": {}, "label": 5}]}], r"annotations\[0\]"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_createml(one(tmp_path, document))
    assert "annotations.json" in caught.value.message and caught.value.hint


WHOLE = json.dumps(createml_items(photographs(1))).encode()
_number = st.integers(-10, 900) | st.floats(allow_nan=False, allow_infinity=False)


@given(boxes=st.lists(st.tuples(_number, _number, _number, _number), max_size=5))
def test_every_box_is_read_or_counted(tmp_path_factory: pytest.TempPathFactory, boxes: list[Any]) -> None:
    table = open_createml(one(tmp_path_factory.getbasetemp() / "createml", [item(*boxes)]))
    assert len(table.class_ids) + table.dropped_boxes == len(boxes)
    assert np.isfinite(table.boxes_xywh).all() and (table.boxes_xywh[:, 2:] > 0).all()


@given(place=st.integers(0, len(WHOLE)), cut=st.integers(0, 20), piece=st.binary(max_size=6))
def test_any_damage_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, cut: int, piece: bytes
) -> None:
    content = WHOLE[:place] + piece + WHOLE[place + cut :]
    try:
        open_createml(one(tmp_path_factory.getbasetemp() / "damaged-createml", content))
    except FcosliteError as error:
        assert error.message and error.hint
