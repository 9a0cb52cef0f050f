"""JAX trains as TensorFlow does: the same command, weights and data give the same losses."""

import json
import os
import subprocess
import sys

import pytest

from fcoslite.models.detector import build_detector
from fcoslite.models.weights import save_weights
from fcoslite.runs.run import create_run
from fcoslite.training.plan import plan_run

FIXED = [
    "augment.flip_probability=0",
    "augment.brightness=0",
    "augment.noise=0",
    "augment.scale=[1, 1]",
    "augment.mosaic=0",
    "train.steps_per_epoch=1",
    "train.lr_max=1e-3",
    "data.validation_records=0",
]


def _losses(backend, workspace, folder, settings):
    """The first five losses of `fcoslite train --chunk 2`, which starts from the run of chunk 1."""
    flags = [f"--set={key}" for key in FIXED]
    command = [sys.executable, "-m", "fcoslite", "train", "--config", str(folder / "config.yaml"), "--epochs", "5"]
    records = ["--records", str(workspace / "records"), "--chunk", "2", "--json", "--quiet"]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([*command, *records, *flags], env=environment, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    run = folder / json.loads(done.stdout)["run"]
    assert json.loads((run / "environment.json").read_text())["backend"] == backend
    assert json.loads((run / "run.json").read_text())["start_from"].endswith("best.npz")
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_first_five_losses_are_equal(workspace, slim, tmp_path):
    pytest.importorskip("jax")
    (tmp_path / "config.yaml").write_text(slim.to_yaml())
    all_train = slim.model_copy(update={"data": slim.data.model_copy(update={"validation_records": 0})})
    plan = plan_run("train", all_train, workspace / "records", chunk=1)
    detector = build_detector(plan.settings.model, seed=5)
    parent = create_run(tmp_path / "runs", "train", "smoke-chunk1", plan.settings, plan.facts)
    save_weights(detector, parent.best_weights)
    tensorflow = _losses("tensorflow", workspace, tmp_path, slim)
    jax = _losses("jax", workspace, tmp_path, slim)
    assert len(tensorflow) == 5
    assert jax == pytest.approx(tensorflow, abs=1e-3)
    assert tensorflow[0] != pytest.approx(tensorflow[4], abs=1e-3)  # something was learned in between
