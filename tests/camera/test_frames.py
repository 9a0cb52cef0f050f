"""The frames of a camera's folder."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.camera.frames import CameraFrame, FrameLog, frame_file_name, read_frames
from fcoslite.data.capture import date_text, parse_date
from fcoslite.errors import DataError, FcosliteError
from fcoslite.storage import space

EVENING = datetime(2026, 11, 28, 22, 41, 3, 120_000, UTC)
FRAME = CameraFrame("door/20261128T224103.120Z.jpg", "door", EVENING, "moved", 0xFFFF_0000_FFFF_0001)
QUIET = CameraFrame("door/20261128T225103.120Z.jpg", "door", EVENING + timedelta(minutes=10), "quiet")


def write(folder: Path, *frames: CameraFrame) -> Path:
    with FrameLog(folder) as log:
        for frame in frames:
            log.append(frame)
    return folder / "frames.jsonl"


def test_a_line_is_as_agreed(tmp_path: Path) -> None:
    path = write(tmp_path, QUIET)
    assert json.loads(path.read_text("utf-8")) == {
        "file_name": "door/20261128T225103.120Z.jpg",
        "camera": "door",
        "date_captured": "2026-11-28T22:51:03.120Z",
        "why": "quiet",
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, FRAME)
    write(tmp_path, QUIET)
    assert read_frames(tmp_path) == [FRAME, QUIET]
    assert read_frames(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("left", [1, 20, 100])
def test_half_a_line_is_no_frame_and_is_mended(tmp_path: Path, left: int) -> None:
    path = write(tmp_path, FRAME, QUIET)
    first = path.read_bytes().splitlines(keepends=True)[0]
    path.write_bytes(path.read_bytes()[: len(first) + left])
    assert read_frames(tmp_path) == [FRAME]
    write(tmp_path, QUIET)
    assert read_frames(tmp_path) == [FRAME, QUIET]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "malformed"),
        ('{"file_name": "a.jpg", "camera": "a", "date_captured": "2026", "why": "bored"}', "bored"),
        ('{"file_name": "a.jpg", "camera": "a", "date_captured": "yesterday", "why": "moved"}', "yesterday"),
        (
            '{"file_name": "../a.jpg", "camera": "a", "date_captured": "2026-11-28T22:41:03.120Z", "why": "moved"}',
            "outside",
        ),
    ],
)
def test_a_foreign_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, FRAME)
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_frames(tmp_path)
    assert "frames.jsonl" in caught.value.message


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FrameLog(tmp_path) as log:
        log.append(FRAME)
        monkeypatch.setattr(space, "free_bytes", lambda path: 0)
        with pytest.raises(FcosliteError, match="full"):
            log.append(QUIET)
    assert read_frames(tmp_path) == [FRAME]


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)), st.integers(-12, 12))
def test_times_keep_their_milliseconds(moment: datetime, hours: int) -> None:
    there = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    back = parse_date(date_text(there))
    assert timedelta(0) <= there - back < timedelta(milliseconds=1)
    assert frame_file_name("door", there) == frame_file_name("door", back)
    assert date_text(back).replace("-", "").replace(":", "") in frame_file_name("door", there)
