import sys
from pathlib import Path

import pytest

from fcoslite.errors import DataError, FcosliteError
from fcoslite.storage.line_log import LineLog
from tests.disks import SmallDisk


def test_lines_are_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with LineLog(path) as log:
        assert log.lines == [] and not path.exists()  # before its first line
        log.add(b"one")
        log.add("zwölf".encode())
        assert path.read_bytes() == "one\nzwölf\n".encode()  # not only when it is closed
    with LineLog(path) as log:
        assert log.lines == [b"one", "zwölf".encode()]
        log.add(b"three")
    assert path.read_bytes() == "one\nzwölf\nthree\n".encode()


@pytest.mark.parametrize("torn", [b"{", b"thr", b"\x00" * 4096, "zw\xf6".encode("latin-1")])
def test_what_a_kill_left_of_a_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n" + torn)
    with LineLog(path) as log:
        assert log.lines == [b"one", b"two"]
        assert path.read_bytes().endswith(torn)  # reading changes nothing
        log.add(b"three")
    assert path.read_bytes() == b"one\ntwo\nthree\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_line_that_is_not_on_the_disk_was_not_added(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "log"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with LineLog(path) as log:
        log.add(b"one")
        try:
            for room in (6, 4):  # a part of the line goes in, and none
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
                with pytest.raises(DataError, match="log cannot be written"):
                    log.add(b"two")
                assert path.read_bytes() == b"one\n"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        log.add(b"three")
    assert path.read_bytes() == b"one\nthree\n"


def test_a_full_disk(small_disk: SmallDisk) -> None:
    with LineLog(small_disk.path / "log") as log, pytest.raises(FcosliteError, match="full"):
        log.add(b"one")  # two megabytes are less than what is kept free
    assert not (small_disk.path / "log").exists()
