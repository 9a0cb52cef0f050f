"""JAX trains as TensorFlow does: the same command, weights and data give the same losses."""

import json
import os
import subprocess
import sys

import pytest

from fcoslite.cli.app import run
from fcoslite.config.load import load_settings
from fcoslite.models.detector import build_detector
from fcoslite.models.weights import save_weights
from fcoslite.runs.run import create_run, open_run
from fcoslite.training.plan import plan_run

LEVELS = (4, 8)  # two, of a backbone that ends there: compiling is nearly all of the time
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


def _losses(backend, workspace, folder, capsys):
    """The first five losses, by labels with scores and a teacher, of chunk 2, which starts from the run of chunk 1."""
    words = ["train", "--config", "config.yaml", "--epochs", "5", *(f"--set={key}" for key in FIXED)]
    words += ["--records", str(workspace / "records"), "--chunk", "2", "--teacher", "teacher.npz", "--json", "--quiet"]
    if backend == "jax":
        printed = _on_jax(["-m", "fcoslite", *words])
    else:
        assert run(words) == 0
        printed = capsys.readouterr().out
    made = folder / json.loads(printed)["run"]
    assert json.loads((made / "environment.json").read_text())["backend"] == backend
    assert json.loads((made / "run.json").read_text())["start_from"].endswith("best.npz")
    return [json.loads(line)["loss"] for line in (made / "metrics.jsonl").read_text().splitlines()]


def _on_jax(words):
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_five_losses_are_equal(workspace, slim, tmp_path, monkeypatch, capsys):
    pytest.importorskip("jax")
    monkeypatch.chdir(tmp_path)
    slim = slim.model_copy(update={"model": slim.model.model_copy(update={"strides": LEVELS})})
    (tmp_path / "config.yaml").write_text(slim.to_yaml())
    all_train = slim.model_copy(update={"data": slim.data.model_copy(update={"validation_records": 0})})
    plan = plan_run("train", all_train, workspace / "records", chunk=1)
    detector = build_detector(plan.settings.model, seed=5)
    parent = create_run(tmp_path / "runs", "train", "smoke-chunk1", plan.settings, plan.facts)
    save_weights(detector, parent.best_weights)
    save_weights(build_detector(plan.settings.model, seed=6), tmp_path / "teacher.npz")
    tensorflow = _losses("tensorflow", workspace, tmp_path, capsys)
    jax = _losses("jax", workspace, tmp_path, capsys)
    assert len(tensorflow) == 5
    assert jax == pytest.approx(tensorflow, abs=1e-3)
    assert tensorflow[0] != pytest.approx(tensorflow[4], abs=1e-3)  # something was learned in between


OUT_OF_MEMORY = """
import sys
from fcoslite.cli.app import run
from fcoslite.training.model import TrainingModel

class XlaRuntimeError(RuntimeError):
    pass

original, failed = TrainingModel.make_train_function, []

def make(self, force=False):
    original(self, force)
    train = self.train_function

    def step(state, iterator):
        if not failed:
            failed.append(True)
            raise XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
        return train(state, iterator)

    self.train_function = step

TrainingModel.make_train_function = make
sys.exit(run(sys.argv[1:]))
"""


def test_memory_that_does_not_suffice_for_the_first_step(workspace, slim, tmp_path, monkeypatch):
    """Keras on JAX has taken the variables' values then, and does not bring them back."""
    pytest.importorskip("jax")
    monkeypatch.chdir(tmp_path)
    train = slim.train.model_copy(update={"ema": 0.9})
    model = slim.model.model_copy(update={"strides": LEVELS})
    (tmp_path / "config.yaml").write_text(slim.model_copy(update={"train": train, "model": model}).to_yaml())
    sets = [*FIXED, "train.steps_per_epoch=3"]  # an update
    words = ["train", "--config", "config.yaml", "--epochs", "1", *(f"--set={key}" for key in sets), "--json"]
    printed = _on_jax(["-c", OUT_OF_MEMORY, *words, "--records", str(workspace / "records")])
    assert open_run(json.loads(printed)["run"], tmp_path / "runs").settings().compute.batch_size == 2


RESNEXT = [
    "model.preset=r50",
    "model.backbone=resnext50",
    "model.strides=[8]",  # two of its four stages
    "model.image_size=128",
    "model.neck_channels=32",
    "model.head_channels=32",
    "model.head_depth=1",
    "model.classes=[person]",
    "compute.batch_size=2",
    "augment.flip_probability=0",
    "augment.brightness=0",
]

# two steps on one batch: prints the losses before them, and after the first what Adam has of the gradients
STEPS = """
import json, sys
from pathlib import Path

from fcoslite.machine.backend import load_backend

load_backend()
import numpy as np

from fcoslite.config.load import load_settings
from fcoslite.models.detector import build_detector
from fcoslite.models.weights import load_weights
from fcoslite.training.model import build_training_model

settings = load_settings("smoke", sys.argv[2:])
detector = build_detector(settings.model)
load_weights(detector, Path(sys.argv[1]))
model = build_training_model(detector, settings, settings.train, 2)
images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3)).astype(np.uint8)
boxes = np.float32([[[1, 8, 8, 60, 100]], [[1, 30, 20, 120, 126]]])
batch = {"images": images, "boxes": boxes, "crowd": np.zeros((2, 1), bool), "scores": np.float32([[1], [0.4]])}
losses = []
for step in range(2):
    model.reset_metrics()
    losses.append(float(model.train_on_batch(batch, return_dict=True)["loss"]))
    if step == 0:
        paths = [one.path.replace("/", "_") for one in model.trainable_variables]
        moments = dict(zip(paths, map(np.asarray, model.optimizer.of_variables("momentum")), strict=True))
names = ("stem_kernel", "stage1_block0_conv2_kernel", "stage2_block0_conv2_gamma", "stage2_block3_conv2_kernel")
chosen = [moment for name in names for path, moment in moments.items() if path == f"backbone_{name}"]
first = [moment.ravel()[:: moment.size // 10].tolist() for moment in chosen]
print(json.dumps({"losses": losses, "moments": first, "deviations": [float(moment.std()) for moment in chosen]}))
"""


def test_resnext50_in_the_place_of_r50s_backbone(tmp_path, monkeypatch, capsys):
    pytest.importorskip("jax")
    arguments = ["-c", str(tmp_path / "start.npz"), *RESNEXT]
    save_weights(build_detector(load_settings("smoke", RESNEXT).model, seed=0), tmp_path / "start.npz")
    monkeypatch.setattr(sys, "argv", arguments)
    exec(STEPS, {})
    tensorflow = json.loads(capsys.readouterr().out)
    jax = json.loads(_on_jax(["-c", STEPS, *arguments[1:]]))
    assert jax["losses"][0] == pytest.approx(tensorflow["losses"][0], abs=1e-3)
    assert len(tensorflow["deviations"]) == 4
    moments = zip(jax["moments"], tensorflow["moments"], tensorflow["deviations"], strict=True)
    for ours, theirs, deviation in moments:
        assert deviation > 0
        # at random weights, pixels that differ by 1e-7 move the first kernel's gradient by a tenth of its deviation
        assert ours == pytest.approx(theirs, abs=deviation / 5)
    for one in (jax, tensorflow):  # Adam's first steps go by the sign of a gradient alone, also where that is noise
        assert one["losses"][1] < one["losses"][0]
