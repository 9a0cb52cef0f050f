"""A folder as a source, where it differs from records; what both have in common is in test_source.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.data.capture import Capture, recorded_at
from fcoslite.data.extract.extract import extract
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.sources.folder import FolderSource
from fcoslite.errors import DataError
from fcoslite.progress import Advance

SIZE = 64


@pytest.fixture
def source(demo_data: Path, tmp_path: Path) -> FolderSource:
    extract(demo_data / "annotations.json", demo_data / "images", tmp_path / "data", limit=12)
    dataset = read_coco(tmp_path / "data" / "annotations.json", tmp_path / "data" / "images")
    return FolderSource(dataset, dataset.images, SIZE, 2)


def cut(source: FolderSource, *positions: int) -> None:
    for position in positions:
        path = source.dataset.folder / source.images[position].file_name
        path.write_bytes(path.read_bytes()[:500])


def one_pass(source: FolderSource, seed: int = 0) -> list[bytes]:
    batches = source.training_batches(1, seed, 0)
    return [batch["images"].tobytes() for batch in islice(iter(batches), len(source))]


def test_a_whole_folder_is_the_same_after_its_check(source: FolderSource) -> None:
    ticks = []

    @contextmanager
    def progress(title: str, total: int | None, unit: str) -> Iterator[Advance]:
        yield lambda amount=1, note="": ticks.append(total)

    assert source.checked(progress=progress) == source
    assert ticks == [12] * 12


def test_images_that_cannot_be_decoded_are_refused(source: FolderSource) -> None:
    cut(source, 3, 11)
    with pytest.raises(DataError, match=r"2 of 12 images cannot be used .*cut short") as caught:
        source.checked()
    assert source.images[3].file_name in caught.value.message
    assert "--skip-bad-records" in caught.value.hint and "fcoslite extract" in caught.value.hint
    # and if that happens once the work has begun
    for batches in (source.evaluation_batches(4), source.training_batches(12, 0, 0)):
        with pytest.raises(DataError, match="cut short"):
            list(islice(iter(batches), 3))


def test_on_request_they_are_gone_without(source: FolderSource, caplog: pytest.LogCaptureFixture) -> None:
    pictures = {image.image_id: batch["images"][0] for batch, [image] in source.evaluation_batches(1)}
    before = one_pass(source)
    cut(source, 3, 4, 11)
    checked = source.checked(skip_bad_records=True)
    assert "3 of 12 images cannot be used" in caplog.text and len(checked.bad) == 3
    # in evaluation they do not count
    labels = [image for _, images in checked.evaluation_batches(5) for image in images]
    assert [image.image_id for image in labels] == [
        image.image_id for position, image in enumerate(source.images) if position not in (3, 4, 11)
    ]
    # in training the next good one stands in for each, and every other keeps its place
    position_of = {pictures[image.image_id].tobytes(): position for position, image in enumerate(source.images)}
    stand_in = {3: 5, 4: 5, 11: 0}
    expected = [stand_in.get(position_of[picture], position_of[picture]) for picture in before]
    assert [position_of[picture] for picture in one_pass(checked)] == expected
    assert checked.fingerprint == source.fingerprint


@pytest.mark.parametrize("field", ["boxes_xyxy", "class_ids", "iscrowd", "file_name", "capture"])
def test_another_label_makes_it_another_data_set(source: FolderSource, field: str) -> None:
    same = replace(source, dataset=replace(source.dataset, images=tuple(replace(i) for i in source.dataset.images)))
    assert same.fingerprint == source.fingerprint
    image = next(image for image in source.images if len(image.boxes_xyxy))
    value = getattr(image, field)
    if field == "file_name":
        changed = value + "g"
    elif field == "capture":  # it decides what is validated on
        changed = Capture("door", recorded_at(0.0))
    else:
        changed = (1 - value.astype(np.float32)).astype(value.dtype)
    other = replace(image, **{field: changed})
    images = tuple(other if i.image_id == image.image_id else i for i in source.dataset.images)
    assert replace(source, dataset=replace(source.dataset, images=images)).fingerprint != source.fingerprint


def test_a_folder_of_which_nothing_is_left(source: FolderSource) -> None:
    cut(source, *range(12))
    with pytest.raises(DataError, match="12 of 12 images cannot be used"):
        source.checked(skip_bad_records=True)


def test_a_file_of_another_size_is_not_trained_with_shifted_boxes(source: FolderSource) -> None:
    path = source.dataset.folder / source.images[0].file_name
    image = cv2.imread(str(path))
    cv2.imwrite(str(path), image[: image.shape[0] // 2])
    with pytest.raises(DataError, match="its annotations are for"):
        list(source.evaluation_batches(4))


def test_links_out_of_the_folder_are_read_only_if_extract_made_them(demo_data: Path, tmp_path: Path) -> None:
    extract(demo_data / "annotations.json", demo_data / "images", tmp_path / "data", limit=3, link="symlink")
    annotations, images = tmp_path / "data" / "annotations.json", tmp_path / "data" / "images"
    dataset = read_coco(annotations, images)
    source = FolderSource(dataset, dataset.images, SIZE, 2).checked()
    assert sum(len(labels) for _, labels in source.evaluation_batches(2)) == 3
    (tmp_path / "data" / "manifest.json").unlink()
    dataset = read_coco(annotations, images)
    with pytest.raises(DataError, match="leaves the images folder"):
        FolderSource(dataset, dataset.images, SIZE, 2).checked()
