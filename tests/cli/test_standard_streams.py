"""The command whose standard streams are closed, full, or read no longer: as others start it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
RESULTS = ["runs list --json", "--help", "--version", "extract --help"]


def shell(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A line for the shell, in which `fcoslite` stands for the command."""
    given = {**os.environ, "PYTHON": sys.executable, **env}
    line = line.replace("fcoslite ", '"$PYTHON" -m fcoslite ')
    return subprocess.run(["sh", "-c", line], cwd=folder, env=given, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize(
    ("stdout", "reason"), [(">&-", "bad file"), pytest.param("> /dev/full", "no space", marks=FULL)]
)
def test_a_result_that_cannot_be_written_is_an_error(tmp_path: Path, result: str, stdout: str, reason: str) -> None:
    (tmp_path / "runs").mkdir()
    done = shell(f"fcoslite {result} {stdout}", tmp_path)
    assert done.returncode == 1
    told = done.stderr.splitlines()
    assert told[-2].startswith(f"error: the result cannot be written to stdout: {reason}")
    assert told[-1].startswith("hint: ") and "Traceback" not in done.stderr and "bug" not in done.stderr


@pytest.mark.parametrize("stdout", [">&-", pytest.param("> /dev/full", marks=FULL)])
def test_lines_that_cannot_be_written_are_an_error(tmp_path: Path, demo_data: Path, stdout: str) -> None:
    image = next((demo_data / "images").glob("*.jpg"))
    done = shell(f"fcoslite detect {image} --jsonl - {stdout}", tmp_path)
    assert done.returncode == 1 and "error: the result cannot be written to stdout" in done.stderr


def test_files_are_whole_without_any_stream(tmp_path: Path, demo_data: Path) -> None:
    image = next((demo_data / "images").glob("*.jpg"))
    done = shell(f"fcoslite detect {image} --csv found.csv --weights lite0 <&- >&- 2>&-", tmp_path)
    assert done.returncode == 0
    content = (tmp_path / "found.csv").read_text()
    assert content.startswith("name,frame") and "ONNX" not in content  # nothing but results


@pytest.mark.parametrize("result", RESULTS)
def test_nobody_who_reads_is_no_error_that_is_told(tmp_path: Path, result: str) -> None:
    (tmp_path / "runs").mkdir()
    done = shell(f"{{ fcoslite {result}; echo $? >&2; }} | sleep 0", tmp_path)
    # written before or after the reader has gone
    assert done.stderr.strip().splitlines()[-1] in ("0", "1", "141")
    assert "error" not in done.stderr and "Exception" not in done.stderr


def test_a_closed_stdin_names_no_source(tmp_path: Path) -> None:
    done = shell("fcoslite detect - <&-", tmp_path)
    assert done.returncode == 2 and "no source is named" in done.stderr


@pytest.mark.parametrize("columns", ["0", "1", "00", "99999999999", "-3", "x", ""])
def test_a_width_that_no_terminal_has_is_none(tmp_path: Path, columns: str) -> None:
    done = shell("fcoslite --help", tmp_path, COLUMNS=columns, LINES="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "build-records" in done.stdout and "Train your own" in done.stdout
