from pathlib import Path

import pytest

from fcoslite.errors import RunError, WeightsError
from fcoslite.runs.find_weights import find_weights, packaged_weights, run_of
from fcoslite.runs.run import open_run
from tests.made_runs import make_run as _run


def test_weights_by_file_run_name_path_and_default(tmp_path):
    folder = tmp_path / "runs"
    old, new = _run(folder), _run(folder)
    _run(folder, weights=False)
    assert find_weights(None, folder) == new.best_weights
    assert find_weights(old.name, folder) == old.best_weights
    assert find_weights(old.path, folder) == old.best_weights
    assert find_weights(old.best_weights, folder) == old.best_weights


def test_the_run_of_a_weights_file(tmp_path, monkeypatch):
    run = _run(tmp_path, records="/somewhere/records")
    assert run_of(run.best_weights) == run
    assert run.records == Path("/somewhere/records")
    assert run_of(tmp_path / "weights.npz") is None
    monkeypatch.chdir(run.checkpoints)
    assert run_of(Path("best.npz")) == run_of(Path("../checkpoints/best.npz")) == run
    monkeypatch.chdir(run.path)
    assert run_of(Path("checkpoints/best.npz")).name == run.name


def test_missing_weights_and_runs_have_hints(tmp_path):
    assert find_weights(None, tmp_path / "runs") == packaged_weights()["lite0"]
    run = _run(tmp_path, weights=False)
    with pytest.raises(WeightsError, match="holds no weights yet"):
        find_weights(run.name, tmp_path)
    with pytest.raises(WeightsError) as caught:
        find_weights("train-mission-01", tmp_path)
    assert "train-mission-001" in caught.value.hint
    with pytest.raises(RunError, match="no run named"):
        open_run("nothing", tmp_path)
