"""Times of frames, from containers of every kind."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.detections.detections import Detections
from fcoslite.inference.detect import FrameResult
from fcoslite.inference.input.open import open_source
from fcoslite.inference.input.recording_clock import RecordingClock
from fcoslite.inference.output.writers import VideoWriter


def times(container_ms: list[float], fps: float | None = 10.0, count: int | None = None) -> list[float]:
    clock = RecordingClock(fps, count)
    return [round(clock.seconds(index, ms), 6) for index, ms in enumerate(container_ms)]


def test_the_container_tells_the_time() -> None:
    assert times([0, 120, 200, 1520, 5520]) == [0, 0.12, 0.2, 1.52, 5.52]
    assert times([3000, 3040, 8040]) == [0, 0.04, 5.04]  # since the first


@pytest.mark.parametrize(
    ("container_ms", "expected"),
    [
        ([0, 0, 0, 0], [0, 0.1, 0.2, 0.3]),  # a raw stream has no times
        ([0, 100, 50, 400], [0, 0.1, 0.2, 0.4]),
        ([0, 100, 1e12, 300], [0, 0.1, 0.2, 0.3]),
        ([0, -1e9, float("nan"), float("inf")], [0, 0.1, 0.2, 0.3]),
        ([float("nan"), 100, 200, 300], [0, 0.1, 0.2, 0.3]),
        ([500, 600, 0, 100], [0, 0.1, 0.2, 0.3]),  # two recordings, one behind the other
    ],
)
def test_what_is_not_plausible_gives_way_to_the_rate(container_ms: list[float], expected: list[float]) -> None:
    assert times(container_ms) == expected


def test_a_long_pause_within_the_length_is_believed() -> None:
    assert times([0, 8 * 3_600_000], fps=25.0, count=8 * 3600 * 25) == [0, 8 * 3600]
    assert times([0, 8 * 3_600_000], fps=25.0) == [0, 0.04]


def test_frames_that_were_left_out_take_their_time() -> None:
    clock = RecordingClock(10.0, 100)
    assert clock.seconds(0, 0.0) == 0
    assert clock.seconds(5, 0.0) == pytest.approx(0.5)
    late = RecordingClock(10.0, 100)
    assert late.seconds(3, 0.0) == pytest.approx(0.3)  # the first that could be decoded
    assert late.seconds(4, 100.0) == pytest.approx(0.4)


def test_whether_the_end_was_reached() -> None:
    clock = RecordingClock(25.0, 139)
    assert clock.seconds(0, 0.0) == 0 and not clock.reached(0.9)
    clock.seconds(10, 5520.0)
    assert clock.reached(0.9)
    assert not RecordingClock(None, 10).reached(0.0)


@given(st.lists(st.floats(), min_size=1), st.none() | st.floats(0.01, 999), st.none() | st.integers(1, 10**9))
def test_times_always_grow(container_ms: list[float], fps: float | None, count: int | None) -> None:
    clock = RecordingClock(fps, count)
    told = [clock.seconds(index, ms) for index, ms in enumerate(container_ms)]
    assert told[0] == 0
    assert all(before < after < 1e12 for before, after in pairwise(told))


@pytest.fixture(params=["mkv", "mp4", "avi", "ts"])
def variable(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Path:
    """Five frames 0.1 s apart, then five 1 s apart."""
    path = tmp_path / f"variable.{request.param}"
    durations = [0.1] * 5 + [1.0] * 5
    listing = "".join(f"file '{folder / 'a.jpg'}'\nduration {duration}\n" for duration in durations)
    (tmp_path / "list.txt").write_text(f"{listing}file '{folder / 'a.jpg'}'\n")
    command = ["ffmpeg", "-v", "error", "-y", "-f", "concat", "-safe", "0", "-i", str(tmp_path / "list.txt")]
    codec = "mjpeg" if path.suffix == ".avi" else "mpeg4"
    try:
        subprocess.run([*command, "-vsync", "vfr", "-c:v", codec, str(path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no ffmpeg here that writes such a file")
    return path


def test_a_variable_rate_is_kept_in_time(variable: Path, tmp_path: Path, messages: pytest.LogCaptureFixture) -> None:
    probe = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "packet=pts_time", str(variable)]
    packets = json.loads(subprocess.run(probe, capture_output=True, check=True).stdout)["packets"]
    truth = sorted(float(packet["pts_time"]) for packet in packets if "pts_time" in packet)
    nobody = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ("person",))
    with open_source(str(variable)) as source:
        writer = VideoWriter(tmp_path / "saved.avi", source.fps)
        frames = list(source)
        for frame in frames:
            writer.write(FrameResult(frame, nobody, None))
        writer.close()
        fps = source.fps or 25.0
    assert [frame.seconds for frame in frames] == pytest.approx([time - truth[0] for time in truth], abs=0.002)
    assert frames[-1].seconds > 5
    with open_source(str(tmp_path / "saved.avi")) as saved:
        assert list(saved)[-1].seconds == pytest.approx(frames[-1].seconds, abs=1 / fps)
    assert "cut off" not in messages.text
