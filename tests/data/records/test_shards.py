"""Going on after parts that a run before has left, whole or not."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fcoslite.data.dataset import LabelledImage
from fcoslite.data.records.shards import RecordBytes, clear_journals, name_shards, write_parts
from fcoslite.progress import no_progress

NONE = np.zeros(0, np.float32)
IMAGES = [LabelledImage(n, f"{n}.jpg", 1, 1, NONE.reshape(0, 4), NONE, NONE, NONE, NONE) for n in range(7)]
NAMED = "a-00001-of-00004.tfrecord"


def write(folder: Path, named: bool) -> list[int]:
    """Ids of the images whose records were made."""
    made = []

    def record(image: LabelledImage) -> RecordBytes:
        made.append(image.image_id)
        return RecordBytes(image, bytes([image.image_id]) * 100)

    parts = write_parts(IMAGES, record, folder, 2, 1, "0", no_progress)
    if named:
        name_shards(parts, folder, "a")
    return made


def finish(folder: Path) -> dict[str, bytes]:
    write(folder, named=True)
    clear_journals(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return finish(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("named", [False, True])
def test_what_is_whole_is_not_made_again(tmp_path: Path, whole: dict[str, bytes], named: bool) -> None:
    assert write(tmp_path, named) == list(range(7))
    assert write(tmp_path, named) == []
    assert finish(tmp_path) == whole


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("damage", ["no journal", "empty journal", "torn journal", "zeros", "no file", "torn file"])
def test_it_goes_on_before_the_first_that_is_damaged(
    tmp_path: Path, whole: dict[str, bytes], named: bool, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, named)
    path = tmp_path / (".part-00001.json" if damage in ("no journal", "empty journal", "torn journal", "zeros") else "")
    if path == tmp_path:
        path = tmp_path / (NAMED if named else ".part-00001")
    content = path.read_bytes()
    if damage.startswith("no "):
        path.unlink()
    else:
        path.write_bytes({"e": b"", "t": content[:50], "z": bytes(len(content))}[damage[0]])
    again = tmp_path / "again"
    shutil.copytree(tmp_path, again)
    assert write(tmp_path, named=False) == [2, 3, 4, 5, 6]
    assert "damaged from file 1 on" in caplog.text
    assert finish(again) == whole
