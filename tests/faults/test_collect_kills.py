"""`collect`, killed at random moments: of recordings the same frames are there in the end, of a stream whole ones."""

import random
import shutil
import sys
import time
from pathlib import Path

import cv2
import pytest

from fcoslite.camera.frames import CameraFrame, read_frames
from fcoslite.data.images import read_image
from tests.faults.processes import PATIENCE, kill_and_repeat, report, run_undisturbed, start
from tests.streams import MjpegCamera, jpeg
from tests.walks import walk_pictures, write_walk

KILLS = 20
LOCK = "D/.collect.lock"

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")]


def whole_frames(folder: Path) -> list[CameraFrame]:
    """The frames, after a look at every picture."""
    frames = read_frames(folder)
    assert len({frame.file_name for frame in frames}) == len(frames)
    for frame in frames:
        read_image(folder / "images" / frame.file_name)
    return frames


def pictures(folder: Path) -> set[str]:
    return {path.relative_to(folder / "images").as_posix() for path in folder.glob("images/*/*.jpg")}


def test_many_kills_of_collect(demo_data: Path, tmp_path: Path) -> None:
    recordings = tmp_path / "door"
    recordings.mkdir()
    for number in range(2):
        plan = [("quiet", 4.0), ("walk", 8.0), ("quiet", 11.0), ("walk", 8.0)]
        write_walk(recordings / f"{number}.avi", demo_data, plan, seed=number)
    folder = tmp_path / "work"
    folder.mkdir()
    arguments = ["collect", str(recordings), "--out", "D", "--per-hour", "3600", "--start", "2026-11-28T22:00Z"]
    undisturbed = run_undisturbed(arguments, folder, lock=LOCK)
    expected = {path.name: path.read_bytes() for path in (folder / "D").rglob("*") if path.is_file()}
    assert len(expected) > 20
    shutil.rmtree(folder / "D")
    results = []

    def finished() -> None:
        assert {path.name: path.read_bytes() for path in (folder / "D").rglob("*") if path.is_file()} == expected
        shutil.rmtree(folder / "D")
        results.append(len(expected))

    kill_and_repeat(lambda: arguments, folder, KILLS, undisturbed, finished, lock=LOCK)
    report(
        "SIGKILL during `collect` of recordings",
        KILLS,
        "nothing",
        f"the same command went on; {len(results)} folders, each byte-identical to an undisturbed one",
    )


def test_kills_of_collect_on_a_stream(demo_data: Path, tmp_path: Path) -> None:
    place = next(walk_pictures(demo_data, [("quiet", 1)], (320, 240)))
    crowd = [cv2.imread(str(path)) for path in sorted((demo_data / "images").glob("*.jpg"))[:8]]

    def part(number: int) -> bytes:
        """Somebody else at another place, every fifth of a second: what was seen before is not kept again."""
        chance = random.Random(number // 6)
        width, height = chance.randint(20, 120), chance.randint(40, 200)
        left, top = chance.randint(0, 320 - width), chance.randint(0, 240 - height)
        picture = place.copy()
        picture[top : top + height, left : left + width] = cv2.resize(chance.choice(crowd), (width, height))
        return jpeg(picture if number > 60 else place)

    camera = MjpegCamera(part, 0.03)
    moments = random.Random(0)
    arguments = ["collect", f"door={camera.url}", "--out", "D", "--per-hour", "18000"]  # five frames a second
    kept: list[CameraFrame] = []
    for _ in range(KILLS):
        process = start(arguments, tmp_path)
        patience = time.monotonic() + PATIENCE
        while len(read_frames(tmp_path / "D")) <= len(kept):
            assert process.poll() is None and time.monotonic() < patience
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        process.communicate()
        frames = whole_frames(tmp_path / "D")
        assert frames[: len(kept)] == kept and len(frames) > len(kept)
        # a picture whose line was not written yet is the only thing beside
        assert len(pictures(tmp_path / "D") - {frame.file_name for frame in frames}) <= 1
        kept = frames
    run_undisturbed([*arguments, "--hours", "0.0015"], tmp_path)
    camera.die()
    frames = whole_frames(tmp_path / "D")
    assert frames[: len(kept)] == kept
    assert pictures(tmp_path / "D") == {frame.file_name for frame in frames}
    report("SIGKILL during `collect` of a stream", KILLS, "nothing that was kept", "the same command went on")
