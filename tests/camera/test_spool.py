import sqlite3
from pathlib import Path

import pytest

from fcoslite.camera.spool import Spool, Waiting
from fcoslite.errors import BusyError, DataError, FcosliteError
from tests.disks import SmallDisk


def test_events_wait_in_order_and_leave_when_they_are_sent(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", "door") as spool:
        for name in ("b", "a", "c"):
            spool.add(name, f'{{"id": "{name}"}}', None)
        assert len(spool) == 3 and not spool.any_in_doubt()
        assert spool.next_to_send() == Waiting("b", '{"id": "b"}') and spool.any_in_doubt()
    with Spool(tmp_path / "spool", "door") as spool:  # another process, after a kill
        assert len(spool) == 3 and spool.any_in_doubt()
        spool.sent("b")
        spool.sent("of somebody else")
        assert len(spool) == 2 and not spool.any_in_doubt()
        waiting = spool.next_to_send()
        assert waiting is not None and waiting.id == "a"
        spool.not_sent()
        assert not spool.any_in_doubt() and spool.next_to_send() == waiting
        spool.sent("a")
        spool.sent("c")
        assert spool.next_to_send() is None and len(spool) == 0
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["door.sqlite"]


def test_a_line_that_a_kill_kept_from_its_file_is_remembered_until_it_is_written(tmp_path: Path) -> None:
    file, other = tmp_path / "events.jsonl", tmp_path / "other.jsonl"
    with Spool(tmp_path, "door") as spool:
        spool.add("a", "1", file)
        spool.written("a")
        spool.add("b", "2", file)
        spool.sent("b")
        spool.add("c", "3", None)
        assert len(spool) == 2
    with Spool(tmp_path, "door") as spool:
        assert spool.unwritten(file) == [Waiting("b", "2")] and spool.unwritten(other) == []
        spool.written("b")
        assert spool.unwritten(file) == [] and len(spool) == 2


def test_of_too_many_the_oldest_are_dropped_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Spool(tmp_path, "door", most=3) as spool:
        for number in range(6):
            spool.add(str(number), "x", None)
        assert len(spool) == 3
        waiting = spool.next_to_send()
        assert waiting is not None and waiting.id == "3"
    assert len(caplog.records) == 1 and "the oldest are dropped" in caplog.text


def test_one_process_at_a_time_and_cameras_beside_each_other(tmp_path: Path) -> None:
    with Spool(tmp_path, "door"), Spool(tmp_path, "yard"), pytest.raises(BusyError, match=r"door\.sqlite"):
        Spool(tmp_path, "door")


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "door.sqlite").write_bytes(b"no database " * 1000)
    with pytest.raises(DataError, match=r"door\.sqlite cannot be used") as raised:
        Spool(tmp_path, "door")
    assert "--mqtt-spool" in raised.value.hint
    (tmp_path / "door.sqlite").unlink()
    Spool(tmp_path, "door").close()  # the lock was given back


def test_anybody_can_look_into_it(tmp_path: Path) -> None:
    with Spool(tmp_path, "door") as spool:
        spool.add("a", '{"id": "a"}', None)
    database = sqlite3.connect(tmp_path / "door.sqlite")
    assert database.execute("SELECT line FROM events").fetchall() == [('{"id": "a"}',)]
    database.close()


def test_a_full_disk_is_told_and_what_waits_stays(small_disk: SmallDisk) -> None:
    with pytest.raises(FcosliteError, match="full"):
        Spool(small_disk.path / "spool", "door")
    small_disk.resize(16 * 2**20 + 200_000)
    with Spool(small_disk.path / "spool", "door") as spool:
        spool.add("a", "1", None)
        (small_disk.path / "other").write_bytes(bytes(190_000))
        with pytest.raises(FcosliteError, match="full") as caught:
            spool.add("b", "2", None)
        assert caught.value.hint
    small_disk.resize(32 * 2**20)
    with Spool(small_disk.path / "spool", "door") as spool:
        assert spool.next_to_send() == Waiting("a", "1") and len(spool) == 1
