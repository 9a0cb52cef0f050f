"""`fcoslite runs`, as its user meets it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from fcoslite.cli.app import run as command
from fcoslite.config.load import load_settings
from fcoslite.runs.run import Run, create_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Two runs in ./runs; the first one is finished."""
    monkeypatch.chdir(tmp_path)
    made = []
    for epochs in (3, 2):
        settings = load_settings("smoke", ["train.epochs=3"])
        run = create_run(Path("runs"), "train", "smoke", settings, {"records": "records"})
        for epoch in range(1, epochs + 1):
            run.append_metrics({"epoch": epoch, "step": 5 * epoch, "loss": 3 / epoch, "val_loss": 2 / epoch})
        made.append(run)
    return made


def _json(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> dict:
    assert command([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_nothing_heavy_is_imported(runs):
    code = (
        "import sys; from fcoslite.cli.app import run; code = run(sys.argv[1:]); "
        "print('heavy:', sorted({'tensorflow', 'keras', 'cv2', 'mlflow', 'jax'} & set(sys.modules))); sys.exit(code)"
    )
    for arguments in (["list"], ["show", runs[0].name], ["plot", runs[0].name]):
        done = subprocess.run([sys.executable, "-c", code, "runs", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.rstrip().endswith("heavy: []")


def test_list(runs, capsys):
    (Path("runs") / "train-broken-001").mkdir()
    (Path("runs") / "train-broken-001" / "run.json").write_text("{")
    found = _json(["runs", "list"], capsys)["runs"]
    assert {run["name"]: (run["state"], run["epochs"]) for run in found} == {
        "train-smoke-001": ("finished", 3),
        "train-smoke-002": ("stopped", 2),
        "train-broken-001": ("damaged", 0),
    }
    assert command(["runs", "list"]) == 0
    text = capsys.readouterr().out
    assert "2 of 3" in text and "is not a run" in text
    assert _json(["runs", "list", "--runs", "nowhere"], capsys) == {"runs": []}


def test_show(runs, capsys):
    found = _json(["runs", "show", runs[1].name], capsys)
    assert found["config"] == "smoke"
    assert found["changed"]["train.epochs"][1] == 3
    assert (found["best"]["epoch"], found["facts"]["records"]) == (2, "records")
    assert command(["runs", "show", str(runs[1].path)]) == 0
    text = capsys.readouterr().out
    for part in ("train-smoke-002", "stopped", "train.epochs", "val_loss", "metrics.jsonl"):
        assert part in text


def test_plot(runs, capsys):
    names = [run.name for run in runs]
    assert _json(["runs", "plot", *names, "--dry-run"], capsys)["file"] == "curves.png"
    assert not Path("curves.png").exists()
    assert _json(["runs", "plot", *names], capsys)["epochs"] == dict(zip(names, (3, 2), strict=True))
    both = cv2.imread("curves.png")
    assert command(["runs", "plot", names[0]]) == 0
    one = cv2.imread(str(runs[0].curves_file))
    assert both.std() > 5 and one.std() > 5
    assert both.shape == one.shape and (both != one).any()
    assert command(["runs", "plot", *names]) == 1 and command(["runs", "plot", *names, "--overwrite"]) == 0
    assert command(["runs", "plot", names[0], "--out", "results.csv"]) == 2
    assert "curves.png is there already" in (told := capsys.readouterr().err) and "ends in .png" in told
    empty = create_run(Path("runs"), "train", "empty", load_settings("smoke"), {})
    assert command(["runs", "plot", empty.name]) == 1
    assert "no epoch" in capsys.readouterr().err


def test_runs_of_one_name_are_plotted_by_their_paths(runs, capsys):
    other = shutil.copytree(runs[0].path, Path("elsewhere") / runs[0].name)
    words = [str(runs[0].path), str(other), str(runs[0].path)]
    assert list(_json(["runs", "plot", *words, "--dry-run"], capsys)["epochs"]) == words[:2]


def test_sync_is_told_apart_run_by_run(runs, capsys):
    (runs[0].path / "config.yaml").unlink()
    planned = _json(["runs", "sync", *[run.name for run in runs], "--dry-run"], capsys, code=1)["runs"]
    assert "config.yaml" in planned[0]["problem"]
    assert (planned[1]["problem"], planned[1]["uri"]) == ("", "sqlite:///mlflow.db")
    assert not Path("mlflow.db").exists()


def test_sync_into_a_damaged_store_says_how_to_get_a_new_one(runs, capsys):
    Path("mlflow.db").write_bytes(b"garbage" * 1000)
    assert command(["runs", "sync", runs[0].name]) == 1
    error = capsys.readouterr().err
    assert "mlflow.db is damaged" in error
    assert "move it away" in error and "runs sync" in error
