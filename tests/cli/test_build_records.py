import json
from pathlib import Path

import pytest

from fcoslite.cli.app import run


@pytest.fixture(autouse=True)
def workspace(demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the demo's data where `extract` puts it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "person").symlink_to(demo_data)
    return tmp_path


def test_defaults_read_and_write_the_workspace(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build-records", "--limit", "40000", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    manifest = json.loads((workspace / "records" / "manifest.json").read_text())
    assert document["images"] == manifest["count"] > 30
    assert document["image_size"] == manifest["image_size"] == 512
    assert document["encoding"] == manifest["encoding"] == "png"


def test_dry_run_prints_the_plan(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build-records", "--limit", "3", "--size", "64", "--encoding", "jpeg", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "3 of 64x64 pixels, jpeg" in out and "GB were free" in out and "would write" in out
    assert not (workspace / "records").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "absent"], 1, "fcoslite extract"),
        (["--size", "500"], 2, "multiple of 32"),
        (["--encoding", "gif"], 2, "--encoding"),
        (["--workers", "0"], 2, "--workers"),
        (["--out", "data"], 1, "is not empty"),
    ],
)
def test_errors_say_what_to_do_and_leave_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert run(["build-records", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err and "hint: " in captured.err and message in captured.err
    assert [path.name for path in workspace.iterdir()] == ["data"]
