import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fcoslite.camera.frames import read_frames
from fcoslite.cli.app import run
from tests.streams import MjpegCamera, jpeg
from tests.walks import walk_pictures, write_walk


@pytest.fixture(scope="module")
def recording(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_walk(tmp_path_factory.mktemp("recording") / "door.avi", demo_data, [("quiet", 3), ("walk", 5)])


def test_json_and_table(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["collect", f"front={recording}", "--out", str(tmp_path / "D"), "--start", "2026-11-28T22:00+01:00"]
    assert run([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    frames = read_frames(tmp_path / "D")
    assert result["frames"] == result["by_camera"]["front"] == len(frames) > 2
    assert frames[0].file_name.startswith("front/20261128T21000")
    assert run(arguments) == 0
    assert f"{len(frames)} frames" in capsys.readouterr().out
    assert run([*arguments[:2], "--out", str(tmp_path / "E"), "--dry-run"]) == 0
    assert "would write" in capsys.readouterr().out and not (tmp_path / "E").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["0"], 2, "--out"),
        (["--out", "D"], 2, "SOURCE"),
        (["nowhere.mp4", "--out", "D"], 1, "no file or folder"),
        (["door=rtsp://user:secret@127.0.0.1:9/x", "--out", "D"], 1, "cannot open rtsp://127.0.0.1:9/x"),
        (["0", "--out", "D", "--start", "yesterday"], 2, "2026-11-28T22:00"),
        (["0", "--out", "D", "--per-hour", "0"], 2, "--per-hour"),
        (["0", "--out", "D", "--max-gb", "0"], 2, "--max-gb"),
    ],
)
def test_errors(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["collect", *arguments]) == code
    told = capsys.readouterr().err
    assert message in told and "hint:" in told and "secret" not in told
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_it_well(demo_data: Path, tmp_path: Path) -> None:
    parts = [jpeg(picture) for picture in walk_pictures(demo_data, [("quiet", 5), ("walk", 5)], (320, 240))]
    camera = MjpegCamera(lambda number: parts[number % len(parts)], 0.03)
    address = camera.url.replace("//", "//user:secret@")
    command = [sys.executable, "-m", "fcoslite", "collect", f"door={address}", "--out", "D", "--json"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    patience = time.monotonic() + 60
    while not list((tmp_path / "D" / "images").glob("door/*.jpg")):
        assert time.monotonic() < patience
        time.sleep(0.1)
    assert "secret" not in (tmp_path / "D" / ".collect.lock").read_text("utf-8")
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=60)
    camera.die()
    assert process.returncode == 0, told
    assert "stopping" in told and "secret" not in told + out
    result = json.loads(out)
    assert (result["stopped_by"], result["frames"]) == ("user", len(read_frames(tmp_path / "D")))
    assert (tmp_path / "D" / "sheet.jpg").is_file()
