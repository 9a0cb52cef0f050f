"""Shares of a set, built one by one, and merged."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fcoslite.data.records.merge as merge_module
from fcoslite.data.records.build import build_records
from fcoslite.data.records.merge import merge_records
from fcoslite.data.records.shards import Share
from fcoslite.errors import BusyError, ConfigError, DataError, TooManySkippedError

OPTIONS = {"image_size": 64, "records_per_shard": 5, "workers": 2}  # 7 files


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def data(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's photographs, three of them missing: two of one file, and one of another."""
    folder = tmp_path_factory.mktemp("data") / "person"
    shutil.copytree(demo_data, folder)
    for path in sorted((folder / "images").iterdir())[::12]:
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole") / "out"
    build_records(data, out, max_skipped="3", **OPTIONS)
    return files(out)


@pytest.mark.parametrize("shares", [1, 3, 7])
def test_merged_shares_are_the_bytes_of_one_builder(
    data: Path, whole: dict[str, bytes], tmp_path: Path, shares: int
) -> None:
    out = tmp_path / "out"
    parts = [build_records(data, out, max_skipped="3", share=Share(i, shares), **OPTIONS) for i in range(shares)]
    assert not out.exists()
    assert [sum(part.shards for part in parts), sum(part.skipped_images for part in parts)] == [7, 3]
    merged = merge_records(out, "3")
    assert files(out) == whole and [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (merged.images, merged.boxes) == (29, sum(part.boxes for part in parts))
    assert merge_records(out, "3").images == 29  # there is nothing left to do
    assert build_records(data, out, max_skipped="3", share=Share(0, shares), **OPTIONS).images == 29


def test_what_is_missing_is_named_and_nothing_is_lost(data: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match="nothing to merge"):
        merge_records(out)
    build_records(data, out, max_skipped="3", share=Share(2, 3), **OPTIONS)
    before = files(tmp_path / ".out.partial")
    with pytest.raises(DataError, match=r"4 of the 7 files .* are not finished: 0, 1, 2, 3, counted from 0"):
        merge_records(out, "3")
    assert files(tmp_path / ".out.partial") == before
    for index in (0, 1):
        build_records(data, out, max_skipped="3", share=Share(index, 3), **OPTIONS)
    with pytest.raises(TooManySkippedError, match="more than --max-skipped 2 allows"):
        merge_records(out, "2")
    merge_records(out, "3")
    assert files(out) == whole


def test_one_builder_goes_on_after_shares(data: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_records(data, out, max_skipped="3", share=Share(0, 2), **OPTIONS)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".out.partial").glob("*.tfrecord")}
    build_records(data, out, max_skipped="3", **OPTIONS)
    assert len(kept) == 3 and all((out / name).stat().st_mtime_ns == time for name, time in kept.items())
    assert files(out) == whole


def test_shares_of_another_set_are_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_records(data, out, max_skipped="3", share=Share(0, 2), **OPTIONS)
    before = files(tmp_path / ".out.partial")
    with pytest.raises(BusyError, match="another command has begun") as caught:
        build_records(data, out, max_skipped="3", share=Share(1, 2), **{**OPTIONS, "image_size": 96})
    assert "delete that folder" in caught.value.hint
    assert files(tmp_path / ".out.partial") == before


@pytest.mark.parametrize("killed_in", ["finish", "clear_journals", "clear_facts"])
def test_a_merge_that_is_stopped_is_done_again(
    data: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: str
) -> None:
    out = tmp_path / "out"
    for index in range(2):
        build_records(data, out, max_skipped="3", share=Share(index, 2), **OPTIONS)
    original = getattr(merge_module, killed_in)

    def stop(*arguments: object) -> None:
        original(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(merge_module, killed_in, stop)
    with pytest.raises(KeyboardInterrupt):
        merge_records(out, "3")
    assert not out.exists()
    monkeypatch.undo()
    merge_records(out, "3")
    assert files(out) == whole


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_share_that_is_killed_goes_on(data: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import fcoslite.data.records.shards as shards\n"
        "from fcoslite.data.records.build import build_records\n"
        "original = shards.replace_file\n"
        "def die(path, content):\n"
        "    original(path, content)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "shards.replace_file = die\n"
        f"build_records(Path(sys.argv[1]), Path(sys.argv[2]), max_skipped='3', share=shards.Share(0, 1), **{OPTIONS})\n"
    )
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", program, str(data), str(out)], check=False, timeout=300)
        assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / ".out.partial").glob("*.tfrecord"))) == 2
    build_records(data, out, max_skipped="3", share=Share(0, 1), **OPTIONS)
    merge_records(out, "3")
    assert files(out) == whole


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "0/0", "1/2/3", "a/b", "0.5/2"])
def test_no_share(text: str) -> None:
    with pytest.raises(ConfigError, match="the share is"):
        Share.parse(text)


def test_shares_tile_the_files() -> None:
    for files_, of in [(7, 1), (7, 3), (7, 7), (100, 8)]:
        shares = [Share.parse(f"{index}/{of}").of_files(files_) for index in range(of)]
        assert [index for share in shares for index in share] == list(range(files_))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    with pytest.raises(ConfigError, match="8 shares of 7 files"):
        Share(0, 8).of_files(7)
