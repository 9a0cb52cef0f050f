import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.camera.event_file import EventFile, check_event_file, event_line
from fcoslite.camera.events import Event
from fcoslite.errors import BusyError, DataError, FcosliteError
from tests.disks import SmallDisk


def event(number: int, start: datetime | float = 12.3) -> Event:
    picture = np.full((320, 320, 3), number, np.uint8)
    box = np.array([1, 2, 31, 42], np.float32)
    return Event(f"{number:032x}", "door", number, start, start, 2.0, 0.5, box, picture)


def test_lines_and_pictures(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.jsonl"
    check_event_file(path, overwrite=False)
    with EventFile(path, overwrite=False) as file:
        for each in (event(1), event(2, datetime(2026, 11, 28, 22, 41, 3, 120_000, UTC))):
            saved = file.save_picture(each)
            file.append(event_line(saved))
            # before the next one comes
            line = json.loads(path.read_text().splitlines()[-1])
            assert cv2.imread(str(path.parent / line["picture"])).mean() == pytest.approx(each.track, abs=1)
        assert file.holds(event(1).id) and not file.holds(event(3).id)
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["start"], first["picture"]) == (12.3, "events/door/00012.300-00000000.jpg")
    assert second["picture"] == "events/door/20261128T224103.120Z-00000000.jpg"
    assert sorted(each.name for each in path.parent.iterdir()) == ["events", "events.jsonl"]


def test_it_is_gone_on_with_and_half_a_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(event_line(event(1)) + "\n" + event_line(event(2))[:40])
    check_event_file(path, overwrite=False)
    with EventFile(path, overwrite=False) as file:
        file.append(event_line(event(3)))
    assert [json.loads(line)["track"] for line in path.read_text().splitlines()] == [1, 3]
    with EventFile(path, overwrite=True) as file:
        file.append(event_line(event(4)))
    assert [json.loads(line)["track"] for line in path.read_text().splitlines()] == [4]


@pytest.mark.parametrize("length", [1, 7, 60, -1])
def test_the_first_line_may_be_half_a_one(tmp_path: Path, length: int) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(event_line(event(1))[:length])
    check_event_file(path, overwrite=False)
    with EventFile(path, overwrite=False) as file:
        file.append(event_line(event(2)))
    assert [json.loads(line)["track"] for line in path.read_text().splitlines()] == [2]


def test_what_holds_no_events_is_kept(tmp_path: Path) -> None:
    for content in (b"mine", b'{"name": "a"}\n', b'{"id": 7}', b'{"id": 7}\n', b"\x00\x00\x00 ftypisom" * 100):
        (path := tmp_path / "file").write_bytes(content)
        with pytest.raises(DataError, match="holds no events") as raised:
            check_event_file(path, overwrite=False)
        assert "--overwrite" in raised.value.hint and path.read_bytes() == content
        check_event_file(path, overwrite=True)
    with pytest.raises(DataError, match="is a folder"):
        check_event_file(tmp_path, overwrite=True)
    (tmp_path / "events").write_text("in the way of the pictures")
    with pytest.raises(DataError, match="is a file, not a folder"):
        check_event_file(tmp_path / "events.jsonl", overwrite=False)


def test_two_do_not_write_to_one_file(tmp_path: Path) -> None:
    with EventFile(tmp_path / "events.jsonl", False), pytest.raises(BusyError, match=r"events\.jsonl is being written"):
        EventFile(tmp_path / "events.jsonl", False)
    EventFile(tmp_path / "events.jsonl", False).close()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such pipes")
def test_a_pipe_gets_lines_and_there_are_no_pictures(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE, text=True) as cat:
        check_event_file(path, overwrite=False)
        with EventFile(path, overwrite=False) as file:
            saved = file.save_picture(event(1))
            file.append(event_line(saved))
        assert cat.stdout is not None
        assert json.loads(cat.stdout.read())["picture"] is None
    assert stat.S_ISFIFO(path.stat().st_mode) and [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_a_full_disk_is_told_and_leaves_whole_lines(small_disk: SmallDisk) -> None:
    path = small_disk.path / "events.jsonl"
    with EventFile(path, overwrite=False) as file:
        with pytest.raises(FcosliteError, match="full"):
            file.append(event_line(event(1)))
        with pytest.raises(FcosliteError, match="full"):
            file.save_picture(event(1))
    assert not path.exists() or path.read_bytes() == b""
