"""Files of records, each on its own; going on after files that a run before has left, whole or not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.dataset import LabelledImage
from fcoslite.data.records.shards import Cut, RecordBytes, clear_journals, write_shard, write_shards
from fcoslite.data.skipped import SkippedImage
from fcoslite.progress import no_progress

NONE = np.zeros(0, np.float32)
IMAGES = [LabelledImage(n, f"{n}.jpg", 1, 1, NONE.reshape(0, 4), NONE, NONE, NONE, NONE) for n in range(7)]
CUT = Cut(images=7, images_per_shard=2, prefix="a")
NAMED = "a-00001-of-00004.tfrecord"


def make(image: LabelledImage) -> RecordBytes:
    return RecordBytes(image, bytes([image.image_id]) * 100)


def write(folder: Path) -> list[int]:
    """Ids of the images whose records were made."""
    made = []

    def record(image: LabelledImage) -> RecordBytes:
        made.append(image.image_id)
        return make(image)

    write_shards(IMAGES, CUT, record, folder, 1, "0", no_progress)
    return made


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def finish(folder: Path) -> dict[str, bytes]:
    write(folder)
    clear_journals(folder)
    return files(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return finish(tmp_path_factory.mktemp("whole"))


@given(st.integers(1, 10_000), st.integers(1, 1_000))
def test_files_share_the_order_without_gap_or_overlap(images: int, images_per_shard: int) -> None:
    cut = Cut(images, images_per_shard, "a")
    places = [cut.places(index) for index in range(len(cut))]
    assert [place for part in places for place in part] == list(range(images))
    assert all(len(part) == images_per_shard for part in places[:-1])
    assert sorted({cut.name(index) for index in range(len(cut))})[-1] == cut.name(len(cut) - 1)


def test_what_is_whole_is_not_made_again(tmp_path: Path, whole: dict[str, bytes]) -> None:
    assert write(tmp_path) == list(range(7))
    assert write(tmp_path) == []
    assert finish(tmp_path) == whole


def test_files_written_in_any_order_each_on_its_own_are_the_same(tmp_path: Path, whole: dict[str, bytes]) -> None:
    for index in (2, 0, 3, 1, 2):
        write_shard((make(IMAGES[place]) for place in CUT.places(index)), tmp_path / CUT.name(index))
    assert finish(tmp_path) == whole


def test_an_image_that_is_skipped_moves_no_other(tmp_path: Path, whole: dict[str, bytes]) -> None:
    def record(image: LabelledImage) -> RecordBytes:
        gone = image.image_id in (1, 4, 5)
        return RecordBytes(image, skipped=SkippedImage(image.image_id, "", "missing")) if gone else make(image)

    written = write_shards(IMAGES, CUT, record, tmp_path, 2, "3", no_progress)
    assert [(each.shard.count, len(each.skipped), each.images) for each in written] == [
        (1, 1, 2), (2, 0, 2), (0, 2, 2), (1, 0, 1),
    ]  # fmt: skip
    assert write_shards(IMAGES, CUT, record, tmp_path, 2, "3", no_progress) == written
    clear_journals(tmp_path)
    left = files(tmp_path)
    assert sorted(left) == [CUT.name(index) for index in (0, 1, 3)]
    assert all(left[CUT.name(index)] == whole[CUT.name(index)] for index in (1, 3))


@pytest.mark.parametrize("damage", ["no journal", "empty journal", "torn journal", "zeros", "no file", "torn file"])
def test_only_what_is_damaged_is_made_again(
    tmp_path: Path, whole: dict[str, bytes], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path)
    path = tmp_path / (NAMED if damage.endswith("file") else f".{NAMED}.json")
    content = path.read_bytes()
    if damage.startswith("no "):
        path.unlink()
    else:
        path.write_bytes({"e": b"", "t": content[:50], "z": bytes(len(content))}[damage[0]])
    again = tmp_path / "again"
    shutil.copytree(tmp_path, again)
    assert write(tmp_path) == [2, 3]
    assert (f"{NAMED} is damaged" in caplog.text) == (damage != "no journal")
    assert finish(again) == whole


def test_what_a_kill_leaves_goes_at_the_end(tmp_path: Path, whole: dict[str, bytes]) -> None:
    (tmp_path / f".{NAMED}.0123.unfinished").write_bytes(b"half")
    assert finish(tmp_path) == whole
