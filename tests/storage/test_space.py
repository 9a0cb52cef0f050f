"""Where something can be written, and whether there is room."""

import os
from pathlib import Path

import pytest

from fcoslite.errors import ConfigError, DataError, FcosliteError
from fcoslite.storage.space import check_free_space, check_room, check_writable, free_bytes, nearest_existing
from tests.disks import SmallDisk


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    return tmp_path


def test_a_folder_or_a_file_can_be_written_where_it_is_or_would_be(place: Path) -> None:
    for name in ("folder", "new", "folder/new/folders"):
        check_writable(place / name, "")
    for name in ("file", "new", "folder/new/file"):
        check_writable(place / name, "", folder=False)
    assert sorted(path.name for path in place.rglob("*")) == ["file", "folder"]


def test_one_is_not_the_other(place: Path) -> None:
    for name, folder, told in (
        ("file", True, "file is a file, not a folder"),
        ("folder", False, "folder is a folder, not a file"),
        ("file/new", True, "file is a file, not a folder"),
        ("file/new", False, "file is a file, not a folder"),
    ):
        with pytest.raises(DataError, match=told) as caught:
            check_writable(place / name, "choose another", folder=folder)
        assert caught.value.hint == "choose another"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_without_permission(place: Path) -> None:
    (place / "folder").chmod(0o500)
    (place / "file").chmod(0o400)
    for name, folder in (("folder", True), ("folder/new", True), ("folder/new", False), ("file", False)):
        with pytest.raises(DataError, match="cannot be written to: there is no permission") as caught:
            check_writable(place / name, "choose another", folder=folder)
        assert caught.value.hint == "mend its permissions, or choose another"


def test_a_link_is_where_it_leads(place: Path) -> None:
    (place / "link").symlink_to("folder")
    (place / "lost").symlink_to("file/lost")
    check_writable(place / "link", "")
    with pytest.raises(DataError, match="is a folder"):
        check_writable(place / "link", "", folder=False)
    with pytest.raises(DataError, match="is a file"):
        check_writable(place / "lost", "", folder=False)


def test_the_nearest_that_is_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert nearest_existing(place / "folder") == place / "folder"
    assert nearest_existing(place / "folder" / "a" / "b") == place / "folder"
    monkeypatch.chdir(place)
    assert nearest_existing(Path("a/b")) == place


def test_free_space(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    free = free_bytes(place / "new" / "folder")
    assert free > 0
    check_room(place / "new")
    with caplog.at_level("INFO"):
        check_free_space(place, 3_000_000, "", staged_bytes=1_000_000)
    assert "about 2.0 MB will be written" in caplog.text
    with pytest.raises(DataError, match="MB are free") as caught:
        check_free_space(place, 2 * free, "make room")
    assert caught.value.hint == "make room"


def test_a_full_disk(small_disk: SmallDisk) -> None:
    with pytest.raises(FcosliteError, match="is full"):
        check_room(small_disk.path / "new" / "file")


@pytest.mark.parametrize("address", ["s3://bucket/runs", "gs://bucket", "https://host/x"])
def test_an_address_is_no_place_on_a_disk(address: str) -> None:
    with pytest.raises(ConfigError, match=f"{address} is an address"):
        check_writable(Path(address), "choose another folder")
