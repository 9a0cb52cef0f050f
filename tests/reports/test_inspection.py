"""The page on a data set: its numbers are those of the inspection, and it needs nothing beside it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from fcoslite.data.inspect.inspect import Inspection, inspect_data, plan_inspection
from fcoslite.reports.inspection import write_inspection
from tests.damaged_set import write_damaged_set
from tests.reports.pages import Page


@pytest.fixture(scope="module")
def found(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    folder = tmp_path_factory.mktemp("damaged") / "set"
    write_damaged_set(demo_data, folder)
    return inspect_data(plan_inspection(folder))


@pytest.fixture(scope="module")
def page(found: Inspection) -> Page:
    out = found.table.path.parent / "new" / "page.html"
    write_inspection(found, out)
    return Page(out)


def test_the_file_needs_nothing_beside_it(page):
    page.check_self_contained()


def test_the_bars_are_the_counts(found, page):
    shown = re.findall(r"<title>[\d.e+]+ to [\d.e+]+: ([\d,]+)</title>", page.text)
    names = ("box_side", "relative_side", "box_aspect", "boxes_per_image", "image_side", "image_aspect")
    counts = [count for name in names for count in found.figures.spreads[name].counts if count]
    assert [int(text.replace(",", "")) for text in shown] == counts
    heights = [float(text) for text in re.findall(r'class="bin"[^>]* height="([\d.]+)"', page.text)]
    first = [count for count in found.figures.spreads["box_side"].counts if count]
    assert heights[: len(first)] == pytest.approx(np.array(first) / max(first) * max(heights[: len(first)]), abs=0.1)


def test_tables_are_those_of_the_inspection(found, page):
    person = next(one for one in found.figures.classes if one.name == "person")
    assert page.row("person") == [
        str(number)
        for number in (person.boxes, person.small, person.medium, person.large, person.crowds, person.images)
    ]
    val = found.figures.splits[1]
    assert page.row("val") == ["10", str(val.images_without_box), str(val.boxes), str(val.crowds)]
    assert page.row("train2017/missing.jpg") == ["missing"]
    assert page.row("Sides of boxes")[3] == f"{found.figures.spreads['box_side'].quantiles['median']:.5g}"
    for text in (*found.faults, *found.remarks, found.files.hint):
        assert any(text in word for word in page.words)


def test_pictures_show_samples_odd_boxes_and_duplicates(found, page):
    odd = sum(min(4, kind.count) for kind in found.odd_boxes)
    assert len(page.pictures) == 12 + odd + 2 * len(found.files.duplicates)
    assert all(max(picture.shape) == 320 and picture.std() > 5 for picture in page.pictures)
    red = [(np.abs(picture.astype(int) - (40, 40, 235)).max(axis=-1) < 60).sum() for picture in page.pictures]
    assert sum(count > 20 for count in red) >= odd


def test_names_from_files_are_escaped(demo_data, tmp_path):
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    document["categories"][0]["name"] = "<script>alert(1)</script>"
    (tmp_path / "annotations.json").write_text(json.dumps(document), "utf-8")
    found = inspect_data(plan_inspection(tmp_path / "annotations.json", open_images=False))
    write_inspection(found, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    page.check_self_contained()
    assert page.row("<script>alert(1)</script>") and not page.pictures


def test_a_file_that_went_meanwhile_is_left_out(demo_data, tmp_path):
    shutil.copytree(demo_data, tmp_path / "set")
    found = inspect_data(plan_inspection(tmp_path / "set"))
    shutil.rmtree(tmp_path / "set" / "images")
    write_inspection(found, tmp_path / "page.html")
    assert not Page(tmp_path / "page.html").pictures
