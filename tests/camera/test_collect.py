"""Frames worth learning from."""

import logging
import os
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.camera import collect as module
from fcoslite.camera.collect import collect
from fcoslite.camera.frames import CameraFrame, read_frames
from fcoslite.data.images import read_image
from fcoslite.errors import BusyError, ConfigError, DataError, FcosliteError, SourceError
from fcoslite.storage.locks import locked
from tests.camera.conftest import Walkers
from tests.disks import SmallDisk
from tests.streams import jpeg

TEN = datetime(2026, 11, 28, 22, 0, tzinfo=UTC)


def check(folder: Path) -> list[CameraFrame]:
    """The frames, each with a whole picture; and no picture more."""
    frames = read_frames(folder)
    assert {path.relative_to(folder / "images").as_posix() for path in folder.glob("images/*/*")} == {
        frame.file_name for frame in frames
    }
    assert len({frame.file_name for frame in frames}) == len(frames)
    for frame in frames:
        read_image(folder / "images" / frame.file_name)
    return frames


def after_start(frames: list[CameraFrame], why: str) -> list[float]:
    return [(frame.captured - TEN).total_seconds() for frame in frames if frame.why == why]


def test_a_recording(recording: Path, tmp_path: Path) -> None:
    result = collect([str(recording)], tmp_path / "D", start=TEN)
    frames = check(tmp_path / "D")
    moved, quiet = after_start(frames, "moved"), after_start(frames, "quiet")
    assert len(moved) >= 4 and all(4 < seconds < 11 for seconds in moved)
    assert len(quiet) == 1 and 19.5 < quiet[0] < 22  # ten seconds after the last motion
    assert {frame.camera for frame in frames} == {"door"}
    assert frames[0].file_name.startswith("door/20261128T22000")
    assert (result.frames, result.moved, result.quiet) == (len(frames), len(moved), len(quiet))
    assert (result.by_camera, result.stopped_by) == ({"door": len(frames)}, "end")
    assert result.sheet is not None and cv2.imread(str(result.sheet)).shape[1] > 4 * 480


def test_the_same_again_adds_nothing(recording: Path, tmp_path: Path) -> None:
    collect([str(recording)], tmp_path / "D")
    before = {path: path.read_bytes() for path in (tmp_path / "D").rglob("*") if path.is_file()}
    assert collect([str(recording)], tmp_path / "D").frames == 0
    assert {path: path.read_bytes() for path in (tmp_path / "D").rglob("*") if path.is_file()} == before


def test_a_recording_ended_when_its_file_was_written(recording: Path, tmp_path: Path) -> None:
    os.utime(recording, (TEN.timestamp(), TEN.timestamp()))
    collect([f"yard={recording}"], tmp_path / "D")
    frames = check(tmp_path / "D")
    assert {frame.camera for frame in frames} == {"yard"}
    assert all(-24 + 4 < seconds < -24 + 11 for seconds in after_start(frames, "moved"))


def test_a_recording_whose_length_is_not_known_needs_a_start(recording: Path, tmp_path: Path) -> None:
    """What states a rate of 1000 states a unit of time, and its number of frames is none."""
    unknown = tmp_path / "unknown.avi"
    writer = cv2.VideoWriter(str(unknown), cv2.VideoWriter.fourcc(*"MJPG"), 1000.0, (64, 64))
    for _ in range(3):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    with pytest.raises(SourceError, match=r"does not tell how long it is.*--start"):
        collect([str(unknown)], tmp_path / "D")
    assert collect([str(unknown)], tmp_path / "E", start=TEN).unreadable == ()


def test_a_recording_behind_an_address_is_not_watched(recording: Path, tmp_path: Path) -> None:
    """It goes by as fast as it is read, and nothing tells when it was taken."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(recording.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(SourceError, match="is a recording behind an address") as caught:
            collect([f"door=http://127.0.0.1:{server.server_address[1]}/{recording.name}"], tmp_path / "D")
        server.shutdown()
    assert "download it" in caught.value.hint and not (tmp_path / "D").exists()


def test_recordings_follow_each_other(recording: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "cam" / "28"
    folder.mkdir(parents=True)
    for name in ("1.avi", "2.avi"):
        shutil.copy(recording, folder / name)
    (folder / "1b.avi").write_bytes(b"no video")
    result = collect([str(tmp_path / "cam")], tmp_path / "D", start=TEN)
    frames = check(tmp_path / "D")
    assert len([seconds for seconds in after_start(frames, "moved") if seconds > 24 + 4]) >= 1
    assert all(seconds % 24 > 4 for seconds in after_start(frames, "moved"))
    assert len(result.unreadable) == 1 and "1b.avi" in result.unreadable[0]
    assert "1b.avi" in caplog.text


def test_limits(recording: Path, tmp_path: Path) -> None:
    result = collect([str(recording)], tmp_path / "few", per_hour=3, start=TEN)
    assert (result.moved, result.quiet) == (2, 1)
    sizes = [path.stat().st_size for path in (tmp_path / "few").glob("images/*/*")]
    max_gb = 2.5e-9 * max(sizes)
    result = collect([str(recording)], tmp_path / "small", max_gb=max_gb, start=TEN)
    assert (result.frames, result.stopped_by) == (2, "max-gb")
    check(tmp_path / "small")
    # what is there counts
    assert collect([f"yard={recording}"], tmp_path / "small", max_gb=max_gb).frames == 0


def test_streams_at_the_same_time(walkers: Walkers, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    door, yard = walkers(), walkers()
    words = [f"door={door.url}".replace("//", "//user:secret@"), yard.url.replace("//", "//user:secret@")]
    before = datetime.now(UTC)
    result = collect(words, tmp_path / "D", hours=8 / 3600)
    frames = check(tmp_path / "D")
    cameras = {frame.camera for frame in frames}
    assert len(cameras) == 2 and "door" in cameras
    assert result.stopped_by == "hours"
    assert all(before < frame.captured < datetime.now(UTC) for frame in frames)
    told = caplog.text + str(result) + "".join(map(str, (tmp_path / "D").rglob("*")))
    assert "secret" not in told
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "D").rglob("*") if path.is_file())


def test_a_stream_that_is_lost_and_returns(
    walkers: Walkers, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = walkers()

    def interrupt() -> None:
        time.sleep(3)
        camera.die()
        time.sleep(1.5)
        camera.start()

    thread = threading.Thread(target=interrupt)
    thread.start()
    collect([f"door={camera.url}"], tmp_path / "D", per_hour=3600, hours=9 / 3600)
    thread.join()
    times = [frame.captured.timestamp() for frame in check(tmp_path / "D")]
    assert max(times) - min(times) > 3
    assert caplog.text.count("trying again until it is back") == 1
    assert caplog.text.count("is back after") == 1


def test_a_stream_that_comes_back_in_another_size(
    walkers: Walkers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera = walkers()
    before = camera.part

    def resized(number: int) -> bytes:
        picture = cv2.imdecode(np.frombuffer(before(number), np.uint8), cv2.IMREAD_COLOR)
        return jpeg(cv2.resize(picture, (640, 480)))

    def change() -> None:
        time.sleep(4)
        camera.die()
        camera.part = resized
        camera.start()

    thread = threading.Thread(target=change)
    thread.start()
    collect([f"door={camera.url}"], tmp_path / "D", per_hour=3600, hours=11 / 3600)
    thread.join()
    sizes = {read_image(tmp_path / "D" / "images" / frame.file_name).shape for frame in check(tmp_path / "D")}
    assert sizes == {(240, 320, 3), (480, 640, 3)}
    assert caplog.text.count("door: pictures are 640x480 pixels now, not 320x240") == 1


def test_what_never_comes(recording: Path, tmp_path: Path) -> None:
    for words, message in (
        (["rtsp://user:secret@127.0.0.1:9/x"], "cannot open rtsp://127.0.0.1:9/x"),
        (["93"], "camera 93"),
        ([str(recording), "yard=http://127.0.0.1:9/x"], "cannot open"),
    ):
        with pytest.raises(SourceError, match=message) as caught:
            collect(words, tmp_path / "D")
        assert caught.value.hint and "secret" not in str(caught.value) + caught.value.hint
        assert not (tmp_path / "D").exists()
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(SourceError, match="no recording can be read"):
        collect([str(tmp_path / "x.mp4")], tmp_path / "D")


def test_arguments(recording: Path, tmp_path: Path) -> None:
    for options in ({"per_hour": 0}, {"max_gb": 0.0}, {"max_gb": float("nan")}, {"hours": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            collect([str(recording)], tmp_path / "D", **options)  # type: ignore[arg-type]


def test_a_dry_run_writes_nothing(recording: Path, walkers: Walkers, tmp_path: Path) -> None:
    result = collect([str(recording), f"door-2={walkers().url}"], tmp_path / "D", dry_run=True)
    assert result.sources[0].startswith("door-2: stream http://127.0.0.1") and result.sources[1] == "1 recording"
    assert not (tmp_path / "D").exists()


def test_a_folder_of_something_else_is_refused(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "D").mkdir()
    (tmp_path / "D" / "letter.txt").touch()
    with pytest.raises(DataError, match=r"letter\.txt"):
        collect([str(recording)], tmp_path / "D")


def test_a_folder_that_another_process_collects_into(recording: Path, tmp_path: Path) -> None:
    collect([str(recording)], tmp_path / "D", per_hour=1)
    before = read_frames(tmp_path / "D")
    with locked(tmp_path / "D" / ".collect.lock", "D"), pytest.raises(BusyError, match="is being written"):
        collect([str(recording)], tmp_path / "D")
    assert check(tmp_path / "D") == before


def test_a_disk_that_fills_up(recording: Path, small_disk: SmallDisk) -> None:
    out = small_disk.path / "D"
    with pytest.raises(FcosliteError, match="full"):
        collect([str(recording)], out)
    small_disk.resize(16 * 2**20 + 150_000)  # room for some frames beside the spare
    with pytest.raises(FcosliteError, match="full") as caught:
        collect([str(recording)], out, per_hour=3600, start=TEN)
    assert caught.value.hint
    kept = check(out)
    assert 1 <= len(kept) < 6
    small_disk.resize(32 * 2**20)
    collect([str(recording)], out, per_hour=3600, start=TEN)
    assert check(out)[: len(kept)] == kept
    undisturbed = collect([str(recording)], small_disk.path / "E", per_hour=3600, start=TEN)
    assert undisturbed.frames == len(check(out))


def test_what_a_kill_leaves_is_mended(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "D"
    collect([str(recording)], out, start=TEN)
    frames = check(out)
    lines = (out / "frames.jsonl").read_bytes()
    (out / "frames.jsonl").write_bytes(lines[:-10])  # its picture is there, its line is not
    collect([str(recording)], out, start=TEN)
    assert check(out) == frames
    assert (out / "frames.jsonl").read_bytes() == lines


def test_pictures_without_lines_are_left_alone(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "D"
    frames = collect([str(recording)], out, start=TEN).frames
    (out / "frames.jsonl").unlink()
    (out / "frames.jsonl").touch()
    collect([f"yard={recording}"], out, start=TEN)
    assert len(list((out / "images" / "door").iterdir())) == frames > 1


def test_a_line_of_somebody_else_is_an_error(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "frames.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"frames\.jsonl, line 1"):
        collect([str(recording)], tmp_path)
    assert (tmp_path / "frames.jsonl").read_text() == "{}\n"


def test_a_clock_that_is_set_while_it_watches(
    walkers: Walkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, began = module.WallClock, time.monotonic()

    def wall() -> datetime:
        gone = time.monotonic() - began
        return TEN + timedelta(seconds=gone) - (timedelta(hours=2) if gone > 4 else timedelta(0))

    monkeypatch.setattr(module, "WallClock", lambda: real(wall))
    with caplog.at_level(logging.WARNING):
        collect([f"door={walkers().url}"], tmp_path / "D", per_hour=3600, hours=9 / 3600)
    hours = [frame.captured.hour for frame in check(tmp_path / "D")]
    assert set(hours) == {22, 20} and hours == sorted(hours, reverse=True)
    assert caplog.text.count("went back by 2:00:00") == 1
