"""Files that are whole at all times, whoever writes them."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest

from fcoslite.storage.files import replace_file
from tests.disks import SmallDisk


def test_the_last_of_many_writers_at_once_wins_and_none_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([n]) * 1000 for n in range(100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: replace_file(path, content), contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_name_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    replace_file(path, b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_failure_leaves_the_old_file_and_nothing_else(small_disk: SmallDisk) -> None:
    path = small_disk.path / "file"
    replace_file(path, b"old")
    with pytest.raises(OSError, match="No space"):
        replace_file(path, bytes(2**22))
    assert path.read_bytes() == b"old"
    assert list(small_disk.path.iterdir()) == [path]


WRITE = """
import os, sys; from pathlib import Path; from fcoslite.storage.files import replace_file
os.fsync = lambda descriptor: (print("writing", flush=True), sys.stdin.read())
replace_file(Path(sys.argv[1]), b"new")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_what_a_killed_writer_has_left_goes_with_the_next_and_what_is_written_now_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    (tmp_path / "mine.partial").touch()
    for state in ("killed", "at work"):
        with subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdin=PIPE, stdout=PIPE) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"writing\n"
            [left] = tmp_path.glob(".fcoslite-*.partial")
            os.utime(left, (0, 0))
            if state == "killed":
                writer.kill()
                writer.wait()
            replace_file(tmp_path / "other", b"new")
            assert path.read_bytes() == b"old"
            assert left.exists() == (state == "at work")
            writer.communicate()
    assert path.read_bytes() == b"new"
    assert {entry.name for entry in tmp_path.iterdir()} == {"file", "other", "mine.partial"}
