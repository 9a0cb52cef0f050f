"""Photographs that are there and cannot be used: the hint says why, and following it helps."""

import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from fcoslite.data.extract.extract import extract
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.image_files_hint import explain
from fcoslite.data.records.build import build_records
from fcoslite.data.skipped import SkippedImage
from fcoslite.data.sources.folder import FolderSource
from fcoslite.errors import DataError, FcosliteError

Change = Callable[[dict[str, Any]], None]


class Data:
    """Four of the embedded photographs, with persons, in `folder`/images; `refused` gives the hint of extract."""

    def __init__(self, demo_data: Path, folder: Path) -> None:
        self.folder, self.images, self.annotations = folder, folder / "images", folder / "annotations.json"
        document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
        persons = {box["image_id"] for box in document["annotations"] if box["category_id"] == 1}
        self.records = [image for image in document["images"] if image["id"] in persons][:4]
        self.names = [image["file_name"] for image in self.records]
        self.document = document | {"images": self.records}
        self.document["annotations"] = [
            box for box in document["annotations"] if box["image_id"] in {image["id"] for image in self.records}
        ]
        self.images.mkdir()
        for name in self.names:
            shutil.copy(demo_data / "images" / name, self.images / name)
        self.write()

    def write(self, change: Change | None = None) -> None:
        for image in self.records:
            if change is not None:
                change(image)
        self.annotations.write_text(json.dumps(self.document))

    def rename(self, change: Callable[[str], str]) -> None:
        for name in self.names:
            there = self.images / change(name)
            there.parent.mkdir(exist_ok=True)
            (self.images / name).rename(there)

    def extract(self, images: Path | None = None) -> int:
        return extract(self.annotations, images or self.images, self.folder / "out", dry_run=True).images

    def refused(self, images: Path | None = None) -> str:
        with pytest.raises(DataError, match="4 of 4 images cannot be used") as caught:
            self.extract(images)
        return caught.value.hint


@pytest.fixture
def data(demo_data: Path, tmp_path: Path) -> Data:
    return Data(demo_data, tmp_path)


def prefixed(text: str) -> Change:
    return lambda image: image.update(file_name=text + image["file_name"])


def swap(image: dict[str, Any]) -> None:
    image.update(width=image["height"], height=image["width"])


def test_nothing_is_wrong_at_first(data: Data) -> None:
    assert data.extract() == 4


def test_width_and_height_exchanged(data: Data) -> None:
    data.write(swap)
    hint = data.refused()
    assert hint.startswith("width and height are exchanged in the annotations (4 of 4 looked at, such as ")
    height, width = cv2.imread(str(data.images / data.names[0])).shape[:2]
    assert f"{data.names[0]}, which is {width} pixels wide and {height} high" in hint


def test_resized_photographs(data: Data) -> None:
    for name in data.names:
        picture = cv2.imread(str(data.images / name))
        cv2.imwrite(str(data.images / name), cv2.resize(picture, (64, 48)))
    assert "other sides than the annotations say (4 of 4 looked at" in data.refused()
    assert f"{data.names[0]}, which is 64x48, not " in data.refused()


@pytest.mark.parametrize(
    ("cache", "there", "missing"),
    [
        ("elsewhere", "cp -rL", "bring back what they lead to"),
        (".dvc/cache/files/md5", "dvc checkout --relink", "dvc pull"),
        ("shared/files/md5", "dvc checkout --relink", "dvc pull"),  # a cache shared by several projects
        (".git/annex/objects", "git annex unlock", "git annex get"),
    ],
)
def test_links_that_lead_out(data: Data, cache: str, there: str, missing: str) -> None:
    store = data.folder / cache
    store.mkdir(parents=True)
    for name in data.names:
        (data.images / name).rename(store / f"x{name}")
        (data.images / name).symlink_to(os.path.relpath(store / f"x{name}", data.images))
    hint = data.refused()
    assert "links that lead out of the images folder" in hint and "4 of 4" in hint and there in hint
    assert f"{data.names[0]} -> " in hint
    if there == "cp -rL":
        shutil.copytree(data.images, data.folder / "COPY")  # follows links
        assert data.extract(data.folder / "COPY") == 4
    for name in data.names:
        (store / f"x{name}").unlink()
    hint = data.refused()
    assert "links to what is not there" in hint and missing in hint


def test_a_link_to_a_folder_is_named_itself(data: Data) -> None:
    data.write(prefixed("train/"))
    data.images.rename(data.folder / "far")
    data.images.mkdir()
    (data.images / "train").symlink_to(data.folder / "far")
    assert f"such as train -> {data.folder / 'far'}" in data.refused()


def test_pointers_of_git_lfs(data: Data) -> None:
    for name in data.names:
        (data.images / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "pointers of Git LFS" in data.refused() and "git lfs pull" in data.refused()


@pytest.mark.parametrize(("in_file", "in_folder"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_of_a_mac(data: Data, in_file: Any, in_folder: Any) -> None:
    data.rename(lambda name: unicodedata.normalize(in_folder, f"Zoë-{name}"))
    data.write(lambda image: image.update(file_name=unicodedata.normalize(in_file, f"Zoë-{image['file_name']}")))
    if (data.images / data.records[0]["file_name"]).exists():
        pytest.skip("this file system takes both for the same")
    hint = data.refused()
    assert f"{in_file} in the annotations, {in_folder} in the folder (4 of 4" in hint
    assert f"--{in_file.lower()}" in hint


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda name: name.replace(".jpg", ".JPG"), "upper and lower case"),
        (lambda name: name.replace(".jpg", ".jpeg"), "end differently"),
        (lambda name: name.replace(".jpg", ".png"), "end differently"),
    ],
)
def test_endings(data: Data, change: Callable[[str], str], what: str) -> None:
    data.rename(change)
    if (data.images / data.names[0]).exists():
        pytest.skip("this file system takes both for the same")
    hint = data.refused()
    assert what in hint and f"{data.names[0]}, which is {change(data.names[0])} there" in hint


@pytest.mark.parametrize("below", ["train", "a/train"])
def test_the_files_are_below(data: Data, below: str) -> None:
    (data.images / below).mkdir(parents=True)
    data.rename(lambda name: f"{below}/{name}")
    hint = data.refused()
    assert f"in another folder (4 of 4 looked at, such as {data.images / below / data.names[0]})" in hint
    root = Path(hint.rpartition("the images folder must be ")[2])
    assert data.extract(root) == 4


@pytest.mark.parametrize("above", ["images/", "set/images/"])
def test_the_names_have_the_folder_already(data: Data, above: str) -> None:
    data.write(prefixed(above))
    inner = data.folder
    if above.startswith("set"):
        inner = data.folder / "set"
        inner.mkdir()
        data.images.rename(inner / "images")
    hint = data.refused(inner / "images")
    root = Path(hint.rpartition("the images folder must be ")[2])
    assert root == data.folder and data.extract(root) == 4


def test_the_files_are_beside_and_paths_stay_relative(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.folder)
    (data.folder / "val").mkdir()
    assert data.refused(Path("val")).endswith("the images folder must be images")
    assert data.extract(Path("images")) == 4


def test_files_in_several_folders(data: Data) -> None:
    data.rename(lambda name: f"{'ab'[data.names.index(name) % 2]}/{name}")
    assert "spread over several folders: write each with its own in file_name" in data.refused()


def test_a_folder_too_many(data: Data) -> None:
    data.write(prefixed("old/"))
    hint = data.refused()
    assert "file_name has a folder that the files are not in (4 of 4 looked at" in hint
    assert f"old/{data.names[0]}, which is {data.names[0]} there" in hint


def test_files_that_have_been_mended_meanwhile(data: Data) -> None:
    dataset = read_coco(data.annotations, data.images)
    skipped = [SkippedImage(image.image_id, image.file_name, "missing") for image in dataset.images]
    hint = explain(skipped, dataset.images, data.images)
    assert hint == f"the files can be read by now (4 of 4 looked at, such as {data.names[0]}): run the command again"


def test_the_most_frequent_reason_is_told(data: Data) -> None:
    swap(data.records[0])
    data.write()
    for name in data.names[1:3]:
        (data.images / name).write_bytes(b"")
    (data.images / data.names[3]).unlink()
    hint = data.refused()
    assert f"the files themselves are bad (2 of 4 looked at, such as {data.names[1]}: empty)" in hint
    data.write(swap)  # back: now there are few
    with pytest.raises(FcosliteError) as caught:
        extract(data.annotations, data.images, data.folder / "out")
    assert "the files themselves are bad (2 of " in caught.value.hint and "--max-skipped" in caught.value.hint


def test_training_and_records_say_it_too(data: Data, tmp_path: Path) -> None:
    data.write(swap)
    dataset = read_coco(data.annotations, data.images)
    for skip in (False, True):
        with pytest.raises(DataError) as caught:
            FolderSource(dataset, dataset.images, 64, workers=1).checked(skip)
        assert "exchanged in the annotations (4 of 4" in caught.value.hint
    for allowed in ("1%", "100%"):
        with pytest.raises(DataError) as caught:
            build_records(data.folder, tmp_path / "records", image_size=64, max_skipped=allowed)
        assert "exchanged in the annotations (" in caught.value.hint


def test_the_work_does_not_grow_with_what_is_missing(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3000):
        (data.images / f"{number}.txt").touch()
    looks = 0
    is_file = Path.is_file

    def counting(path: Path) -> bool:
        nonlocal looks
        looks += 1
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", counting)
    counts = []
    for images in (10, 400):
        records = [dict(data.records[0], id=number + 1, file_name=f"lost/{number}.jpg") for number in range(images)]
        data.annotations.write_text(json.dumps(data.document | {"images": records, "annotations": []}))
        dataset = read_coco(data.annotations, data.images)
        skipped = [SkippedImage(image.image_id, image.file_name, "missing") for image in dataset.images]
        looks = 0
        assert "the files are not there (10 of 10 looked at" in explain(skipped, dataset.images, data.images)
        counts.append(looks)
    assert counts[0] == counts[1] < 500
