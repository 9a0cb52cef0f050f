from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.formats.voc import open_voc
from fcoslite.errors import DataError, FcosliteError
from tests.exports import cvat_voc, photographs, put, voc_xml, write

NAME, WIDTH, HEIGHT = photographs(1)[0]
XML = voc_xml(NAME, WIDTH, HEIGHT)
STEM = NAME[:-4]


def one(folder: Path, xml: str | bytes) -> Path:
    put(NAME, folder / "JPEGImages" / NAME)
    path = folder / "Annotations" / f"{STEM}.xml"
    write(path, "")
    path.write_bytes(xml if isinstance(xml, bytes) else xml.encode())
    return folder


def test_corners_count_from_one_and_belong_to_the_box(tmp_path: Path) -> None:
    box = f"<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{WIDTH}</xmax><ymax>{HEIGHT}</ymax></bndbox>"
    xml = f"<annotation><filename>{NAME}</filename><object><name>person</name>{box}</object></annotation>"
    assert open_voc(one(tmp_path, xml)).boxes_xywh.tolist() == [[0, 0, WIDTH, HEIGHT]]


def test_one_corner_below_one_makes_all_count_from_zero(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    second = photographs(2)[1]
    put(second[0], tmp_path / "JPEGImages" / second[0])
    zero = voc_xml(*second, first=0)
    write(tmp_path / "Annotations" / f"{second[0][:-4]}.xml", zero)
    table = open_voc(one(tmp_path, voc_xml(NAME, WIDTH, HEIGHT, first=0)))
    assert table.boxes_xywh.tolist() == [[10, 20, 100, 150], [60, 40, 30, 60], [0, 0, 50, 60]]
    assert "corners count from 0" in caplog.text


@pytest.mark.parametrize("word", ["1", "true", " 1 "])
def test_difficult_objects_are_to_be_ignored(tmp_path: Path, word: str) -> None:
    table = open_voc(one(tmp_path, XML.replace("<difficult>0<", f"<difficult>{word}<", 1)))
    assert table.iscrowd.tolist() == [True, False]


@pytest.mark.parametrize(
    "xml",
    [
        XML.replace(f"<width>{WIDTH}</width>", "<width>0</width>"),
        XML.replace("<size>", "<scale>").replace("</size>", "</scale>"),
        XML.replace(f"<height>{HEIGHT}</height>", ""),
    ],
)
def test_sides_that_are_not_told_are_those_of_the_header(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, xml: str
) -> None:
    [image] = open_voc(one(tmp_path, xml)).images
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert "1 files do not tell the sides of their image" in caplog.text


def test_the_image_is_called_like_the_xml_whatever_it_says(tmp_path: Path) -> None:
    for named in ("other.jpg", "C:\\x\\y.jpg", "", "/etc/passwd"):
        xml = XML.replace(f"<filename>{NAME}", f"<filename>{named}")
        assert [image.file_name for image in open_voc(one(tmp_path, xml)).images] == [f"JPEGImages/{NAME}"]
    (tmp_path / "Annotations" / f"{STEM}.xml").rename(tmp_path / "Annotations" / "x.xml")
    (tmp_path / "Annotations" / "x.xml").write_text(XML)  # there is no x.jpg: it is the one it names
    assert [image.file_name for image in open_voc(tmp_path).images] == [f"JPEGImages/{NAME}"]


def test_two_files_for_one_image_are_refused(tmp_path: Path) -> None:
    one(tmp_path, XML)
    write(tmp_path / "Annotations" / "x.xml", XML)
    with pytest.raises(DataError, match="one file_name for two images"):
        open_voc(tmp_path)


def test_images_that_nobody_looked_at_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cvat_voc(tmp_path)
    (tmp_path / "Annotations" / f"{STEM}.xml").unlink()
    assert len(open_voc(tmp_path).images) == 3
    assert "1 images have no XML file and are left out; the first is JPEGImages/" in caplog.text
    assert "1 images of the sets have no XML file and are left out" in caplog.text


def test_a_polygon_becomes_the_box_around_it(tmp_path: Path) -> None:
    polygon = "<polygon><x1>10</x1><y1>60</y1><x2>50</x2><y2>20</y2><x3>30</x3><y3>90</y3></polygon>"
    xml = f"<annotation><object><name>person</name>{polygon}</object></annotation>"
    assert open_voc(one(tmp_path, xml)).boxes_xywh.tolist() == [[9, 19, 41, 71]]


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>'
    "<annotation><object><name>&lol2;</name></object></annotation>"
)
PASSWD = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation><filename>&e;</filename></annotation>'


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (LAUGHS, "declares a document type"),
        (PASSWD, "declares a document type"),
        ("<annotation>" + "<a>" * 100_000, "nested too deeply"),
        (XML[:-20], r"line \d+ is not XML"),
        ("", "is empty"),
        (b"\xff\xfe\x00", "is not XML"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "klingon|is not XML"),
        ("<html/>", "it holds <html>"),
        (XML.replace("<name>person</name>", "<name> </name>"), r"line 7: an object has no name"),
        (XML.replace("<xmin>11<", "<xmin>eleven<"), r"line 7: xmin is 'eleven'"),
        (XML.replace("<xmin>11<", "<xmin>nan<"), "xmin is 'nan'"),
        (XML.replace("<xmin>11</xmin>", ""), "xmin is None"),
        (XML.replace("<xmin>11<", "<xmin>900<"), "ends before it begins"),
        (XML.replace("bndbox", "robndbox"), "has no bndbox"),
        (XML.replace(f"<width>{WIDTH}", "<width>-5"), "the width is '-5'"),
        (XML.replace(f"<width>{WIDTH}", "<width>1.5"), "the width is '1.5'"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, xml: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_voc(one(tmp_path, xml))
    assert f"{STEM}.xml" in caught.value.message and caught.value.hint and len(caught.value.message) < 400


def test_an_image_of_two_splits_is_refused(tmp_path: Path) -> None:
    cvat_voc(tmp_path)
    write(tmp_path / "ImageSets/Main/test.txt", f"{STEM}\n")
    with pytest.raises(DataError, match=rf"train\.txt lists {STEM}, and so does test\.txt"):
        open_voc(tmp_path)


@given(
    place=st.integers(0, len(XML)),
    cut=st.integers(0, 30),
    piece=st.binary(max_size=8) | st.sampled_from([b"<object>", b"</object>", b"0", b"-1e400", b"&lt;", b"<name/>"]),
)
def test_any_damage_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, cut: int, piece: bytes
) -> None:
    content = XML.encode()
    content = content[:place] + piece + content[place + cut :]
    try:
        table = open_voc(one(tmp_path_factory.getbasetemp() / "voc", content))
    except FcosliteError as error:
        assert error.message and error.hint
        return
    assert len(table.images) == 1 and np.isfinite(table.boxes_xywh).all()
    assert len(table.class_ids) + table.dropped_boxes <= content.count(b"<object>")
    if content.count(b"<object>") == content.count(b"</object>") == 2:
        assert len(table.class_ids) + table.dropped_boxes == 2
