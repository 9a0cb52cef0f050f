"""Training runs on embedded photographs: what they leave, and that resuming changes nothing."""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from fcoslite.config import Settings
from fcoslite.data.records import build_records
from fcoslite.errors import DataError, RunError, WeightsError
from fcoslite.models.weights import load_detector, read_arrays
from fcoslite.runs import Run, find_weights
from fcoslite.training import loop
from fcoslite.training.plan import TrainingPlan, plan_resume, plan_run


def _plan(workspace: Path, settings: Settings, epochs: int, **options) -> TrainingPlan:
    schedule = settings.train.model_copy(update={"epochs": epochs})
    return plan_run("train", settings.model_copy(update={"train": schedule}), workspace / "records", **options)


def _state(run: Run) -> dict[str, np.ndarray]:
    newest = max(run.checkpoints.glob("state-*.npz"))
    return read_arrays(newest)[0]


def _assert_same_state(one: Run, other: Run) -> None:
    first, second = _state(one), _state(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.fixture(scope="module")
def undisturbed(workspace, slim_settings, tmp_path_factory) -> loop.TrainingResult:
    """Three epochs of the slim model."""
    settings = slim_settings(tmp_path_factory.mktemp("undisturbed"))
    return loop.train(_plan(workspace, settings, 3), Path(settings.workspace.runs))


def test_a_run_leaves_everything_it_promises(undisturbed):
    run = undisturbed.run
    runs = run.path.parent
    assert run.name == "train-smoke-001"
    names = {path.name for path in run.path.iterdir()}
    assert names == {
        "config.yaml",
        "run.json",
        "environment.json",
        "metrics.jsonl",
        "run.log",
        "curves.png",
        "checkpoints",
    }
    lines = run.read_metrics()
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["step"] for line in lines] == [5, 10, 15]  # 21 images in batches of 4
    for key in ("loss", "class_loss", "box_loss", "quality_loss", "learning_rate", "images_per_second"):
        assert all(np.isfinite(line[key]) for line in lines), key
    for key in ("val_loss", "val_ap", "val_ap50", "val_ap75", "val_ap75_per_image"):
        assert all(key in line for line in lines), key
    assert lines[0]["loss"] == pytest.approx(
        sum(lines[0][f"{part}_loss"] for part in ("class", "box", "centerness")), rel=1e-4
    )
    assert "epoch 3/3" in (run.path / "run.log").read_text()
    assert run.settings().train.epochs == 3
    assert run.settings().model.classes == ("person",)

    detector, header = load_detector(run.best_weights)
    assert detector.class_names == ("person",)
    assert header["metrics"]["val_loss"] == min(line["val_loss"] for line in lines)
    assert find_weights(None, runs) == run.best_weights

    database = sqlite3.connect(str(runs.parent / "mlflow.db"))
    logged = database.execute("select step, value from metrics where key = 'loss' order by step").fetchall()
    assert logged == [(line["step"], pytest.approx(line["loss"])) for line in lines]


@pytest.mark.parametrize("killed_at", [5, 8])
def test_a_killed_run_resumes_to_the_same_weights(workspace, slim, undisturbed, monkeypatch, killed_at):
    """Killed at the end of an epoch, and within one; both times within an accumulation of three batches."""
    runs = Path(slim.workspace.runs)

    class Kill(BaseException):
        pass

    every_batch = slim.model_copy(update={"checkpoint_minutes": 1e-9})
    original = loop.Journal.on_train_batch_end

    def killing(self, batch, logs=None):
        original(self, batch, logs)
        if self.position.step == killed_at:
            raise Kill

    monkeypatch.setattr(loop.Journal, "on_train_batch_end", killing)
    with pytest.raises(Kill):
        loop.train(_plan(workspace, every_batch, 3), runs)
    monkeypatch.undo()
    run = Run(runs / "train-smoke-001")
    with run.metrics_file.open("a") as file:
        file.write('{"epoch": 1, "st')  # as a crash leaves it
    result = loop.resume(plan_resume(run), run)
    assert result.epochs == 3
    _assert_same_state(undisturbed.run, run)
    assert [line["step"] for line in run.read_metrics()] == [5, 10, 15]
    assert run.read_metrics()[-1]["val_loss"] == undisturbed.metrics["val_loss"]
    with pytest.raises(RunError, match="is finished"):
        loop.resume(plan_resume(run), run)


def test_a_damaged_newest_state_falls_back_to_the_one_before(undisturbed, tmp_path):
    whole = undisturbed
    copy = Run(tmp_path / "copy")
    shutil.copytree(whole.run.path, copy.path)
    newest = max(copy.checkpoints.glob("state-*.npz"))
    newest.write_bytes(newest.read_bytes()[:1000])
    assert loop.resume(plan_resume(copy), copy).epochs == 3
    _assert_same_state(whole.run, copy)
    for state in copy.checkpoints.glob("state-*.npz"):
        state.write_bytes(b"")
    with pytest.raises(RunError, match="no whole training state"):
        loop.resume(plan_resume(copy), copy)


def test_resuming_on_other_or_moved_data(undisturbed, workspace, tmp_path):
    copy = Run(tmp_path / "copy")
    shutil.copytree(undisturbed.run.path, copy.path)
    moved = tmp_path / "moved"
    shutil.copytree(workspace / "records", moved)
    copy.write_json("run.json", {**copy.facts(), "records": str(tmp_path / "gone")})
    with pytest.raises(DataError, match="gone"):
        plan_resume(copy)
    assert len(plan_resume(copy, records=moved).training) == 21
    build_records(workspace / "data", moved, image_size=64, limit=20, overwrite=True)
    with pytest.raises(DataError, match="is not what"):
        plan_resume(copy, records=moved)


def test_early_stopping_keeps_the_best_not_the_last(workspace, slim, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.5, 0.1])
    original = loop.Evaluator.run

    def scored(self, *arguments):
        result = original(self, *arguments)
        result.metrics["loss"] = next(losses)
        return result

    monkeypatch.setattr(loop.Evaluator, "run", scored)
    patient = slim.model_copy(update={"train": slim.train.model_copy(update={"early_stopping_epochs": 2})})
    result = loop.train(_plan(workspace, patient, 5), Path(slim.workspace.runs))
    assert result.stopped_early
    assert (result.epochs, result.best["epoch"]) == (4, 2)
    assert load_detector(result.run.best_weights)[1]["epoch"] == 2
    assert load_detector(result.run.last_weights)[1]["epoch"] == 4


def test_chunks_follow_each_other(workspace, slim, caplog):
    runs = Path(slim.workspace.runs)
    first = _plan(workspace, slim, 1, chunk=1)
    assert first.start_from is None
    one = loop.train(first, runs)
    assert one.run.name == "train-smoke-chunk1-001"
    second = _plan(workspace, slim, 1, chunk=2)
    assert second.start_from == one.run.best_weights
    assert set(first.training.records).isdisjoint(second.training.records)
    with caplog.at_level("WARNING"):
        assert _plan(workspace, slim, 1, chunk=4).start_from is None
    assert "no run has trained chunk 3" in caplog.text
    with pytest.raises(DataError, match="no chunk 5"):
        _plan(workspace, slim, 1, chunk=5)


def test_finetuning_starts_from_weights_and_takes_their_model(workspace, slim, undisturbed):
    runs = Path(slim.workspace.runs)
    trained = undisturbed
    other = slim.model_copy(
        update={
            "model": slim.model.model_copy(update={"head_depth": 3}),
            "finetune": slim.finetune.model_copy(update={"epochs": 1}),
        }
    )
    plan = plan_run("finetune", other, workspace / "records", start_from=trained.run.best_weights)
    assert plan.settings.model.head_depth == 1
    result = loop.train(plan, runs)
    assert result.run.name == "finetune-smoke-001"
    facts = json.loads((result.run.path / "run.json").read_text())
    assert facts["start_from"] == str(trained.run.best_weights)


def test_training_without_records_from_the_extracted_folder(workspace, slim):
    plan = plan_run(
        "train", slim.model_copy(update={"train": slim.train.model_copy(update={"epochs": 1})}), data=workspace / "data"
    )
    from_records = _plan(workspace, slim, 1)
    ids = [label.image_id for _, labels in plan.validation.evaluation_batches(8) for label in labels]
    expected = [label.image_id for _, labels in from_records.validation.evaluation_batches(8) for label in labels]
    assert ids == expected  # both split alike
    result = loop.train(plan, Path(slim.workspace.runs))
    resumed = plan_resume(result.run)
    assert len(resumed.training) == len(plan.training)


def test_mlflow_that_cannot_be_reached_stops_nothing(workspace, slim, caplog, tmp_path):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is not a database" * 100)
    place = slim.workspace.model_copy(update={"mlflow_uri": f"sqlite:///{broken}"})
    plan = _plan(workspace, slim.model_copy(update={"workspace": place}), 1)
    with caplog.at_level("WARNING"):
        result = loop.train(plan, Path(slim.workspace.runs))
    assert len(result.run.read_metrics()) == 1
    assert caplog.text.count("MLflow does not follow") == 1


def test_what_does_not_fit_is_refused_before_a_run_exists(workspace, slim, undisturbed):
    runs = Path(slim.workspace.runs)
    dogs = slim.model_copy(update={"model": slim.model.model_copy(update={"classes": ("dog",)})})
    with pytest.raises(DataError, match="the data holds person"):
        loop.train(_plan(workspace, dogs, 1), runs)
    deeper = slim.model_copy(update={"model": slim.model.model_copy(update={"head_depth": 2})})
    plan = _plan(workspace, deeper, 1)
    mixed = TrainingPlan(
        "train", plan.settings, plan.training, plan.validation, plan.facts, undisturbed.run.best_weights
    )
    with pytest.raises(WeightsError, match="does not fit"):
        loop.train(mixed, runs)
    assert not runs.exists()


def test_records_decide_the_image_size(workspace, slim, caplog):
    larger = slim.model_copy(update={"model": slim.model.model_copy(update={"image_size": 128})})
    with caplog.at_level("WARNING"):
        plan = _plan(workspace, larger, 1)
    assert plan.settings.model.image_size == 64
    assert "build-records --size 128" in caplog.text
