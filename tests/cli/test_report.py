"""`fcoslite report`, as its user meets it."""

import json
from pathlib import Path

import pytest

from fcoslite.cli.app import run as command
from fcoslite.runs.run import Run
from tests.made_runs import make_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run in ./runs, without weights."""
    monkeypatch.chdir(tmp_path)
    made = make_run(Path("runs"), weights=False)
    made.append_metrics({"epoch": 1, "step": 5, "loss": 1.25})
    return made


def test_the_plan_writes_nothing(run, capsys):
    assert command(["report", run.name, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["file"], plan["runs"], plan["evaluated"]) == ("report.html", [run.name], [])
    assert not Path("report.html").exists()


def test_a_report_is_written_over_only_if_asked(run, capsys):
    assert command(["report", run.name]) == 0
    first = capsys.readouterr()
    assert "report.html" in first.out and "no weights yet" in first.err
    assert command(["report", run.name]) == 1
    assert "--overwrite" in capsys.readouterr().err
    Path("report.html").write_text("old")
    assert command(["report", run.name, "--overwrite", "--quiet"]) == 0
    assert run.name in Path("report.html").read_text("utf-8")
    assert capsys.readouterr().err == ""


def test_json(run, capsys):
    assert command(["report", str(run.path), "--out", "new/page.html", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["runs"][0]["name"], document["runs"][0]["epochs"]) == (run.name, 1)
    assert document["bytes"] == Path("new/page.html").stat().st_size


@pytest.mark.parametrize("name", ["report.txt", "runs/train-mission-001/metrics.jsonl"])
def test_only_a_web_page_is_written(name, run, capsys):
    before = run.metrics_file.read_bytes()
    assert command(["report", run.name, "--out", name, "--overwrite"]) == 2
    assert ".html" in capsys.readouterr().err
    assert run.metrics_file.read_bytes() == before
