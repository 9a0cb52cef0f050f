"""Training runs on embedded photographs: what they leave, and that resuming changes nothing."""

import json
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcoslite.progress as progress_module
from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.data.records.build import build_records
from fcoslite.errors import DataError, Interrupted, RunError, WeightsError
from fcoslite.evaluation.evaluate import plan_evaluation
from fcoslite.models.detector import build_detector
from fcoslite.models.weights import load_detector
from fcoslite.progress import logged_progress
from fcoslite.runs.find_weights import find_backbone, find_weights
from fcoslite.runs.run import Run
from fcoslite.storage.arrays import read_arrays
from fcoslite.training import loop
from fcoslite.training import model as training_model
from fcoslite.training.checkpoint import has_state, load_state
from fcoslite.training.optimizer import averaged_weights
from fcoslite.training.out_of_memory import halve_batch
from fcoslite.training.plan import TrainingPlan, plan_resume, plan_run
from fcoslite.training.resume import settings_to_resume
from tests.compiled import lending


def _plan(workspace: Path, settings: Settings, epochs: int = 3, **options) -> TrainingPlan:
    schedule = settings.train.model_copy(update={"epochs": epochs})
    return plan_run("train", settings.model_copy(update={"train": schedule}), workspace / "records", **options)


def _state(run: Run) -> dict[str, np.ndarray]:
    newest = max(run.checkpoints.glob("state-*.npz"))
    return read_arrays(newest)[0]


def _lines(run: Run) -> list[dict]:
    """metrics.jsonl but for the clock's share."""
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in run.read_metrics()]


def _assert_same_state(one: Run, other: Run) -> None:
    assert _lines(one) == _lines(other)
    first, second = _state(one), _state(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.fixture(scope="module")
def undisturbed(workspace, slim_settings, tmp_path_factory) -> loop.TrainingResult:
    """Three epochs of the slim model, where there is no terminal and every minute takes no time."""
    settings = slim_settings(tmp_path_factory.mktemp("undisturbed"))
    with lending(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress_module, "_SAY_EVERY", 0.0)
        return loop.train(_plan(workspace, settings, 3), Path(settings.workspace.runs), logged_progress)


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
        sum(lines[0][f"{part}_loss"] for part in ("class", "box", "quality")), rel=1e-4
    )
    log = (run.path / "run.log").read_text()
    assert "epoch 3/3" in log
    assert "INFO train train-smoke-001: 60 of 60 images, 100%, " in log and "; epoch 3/3 loss " in log
    assert log.count("INFO train train-smoke-001: ") == 15 and "INFO evaluating: " in log
    assert run.settings().train.epochs == 3
    assert run.settings().model.classes == ("person",)

    detector, header = load_detector(run.best_weights)
    assert detector.class_names == ("person",)
    assert header["metrics"]["val_loss"] == min(line["val_loss"] for line in lines)
    assert find_weights(None, runs) == run.best_weights

    database = sqlite3.connect(str(runs.parent / "mlflow.db"))
    logged = database.execute("select step, value from metrics where key = 'loss' order by step").fetchall()
    assert logged == [(line["step"], pytest.approx(line["loss"])) for line in lines]


class Kill(BaseException):
    """As sudden as SIGKILL."""


def _kill_at(step, monkeypatch):
    original = loop.Journal.on_train_batch_end

    def killing(self, batch, logs=None):
        original(self, batch, logs)
        if self.position.step == step:
            raise Kill

    monkeypatch.setattr(loop.Journal, "on_train_batch_end", killing)


@pytest.mark.parametrize("killed_at", [5, 8])
def test_a_killed_run_resumes_to_the_same_weights(workspace, slim, undisturbed, monkeypatch, lent, killed_at):
    """Killed at the end of an epoch, and within one; both times within an accumulation of three batches."""
    runs = Path(slim.workspace.runs)
    every_batch = slim.model_copy(update={"checkpoint_minutes": 1e-9})
    _kill_at(killed_at, monkeypatch)
    with pytest.raises(Kill):
        loop.train(_plan(workspace, every_batch, 3), runs)
    monkeypatch.undo()
    run = Run(runs / "train-smoke-001")
    with run.metrics_file.open("a") as file:
        file.write('{"epoch": 1, "st')  # as a crash leaves it
    if killed_at == 8:
        lent.undo()  # compiled anew, as in another process
    result = loop.resume(plan_resume(run), run)
    assert result.epochs == 3
    _assert_same_state(undisturbed.run, run)
    assert loop.resume(plan_resume(run), run) == result  # finished, and stays so
    _assert_same_state(undisturbed.run, run)


def test_a_run_killed_after_its_mosaics_resumes_without_them(workspace, slim, monkeypatch):
    augment = slim.augment.model_copy(update={"mosaic_off_epochs": 1})
    plan = _plan(workspace, slim.model_copy(update={"augment": augment, "checkpoint_minutes": 1e-9}), 2)
    undisturbed = loop.train(plan, Path(slim.workspace.runs)).run
    _kill_at(plan.steps_per_epoch + 1, monkeypatch)
    with pytest.raises(Kill):
        loop.train(plan, Path(slim.workspace.runs))
    monkeypatch.undo()
    run = Run(Path(slim.workspace.runs) / "train-smoke-002")
    loop.resume(plan_resume(run), run)
    _assert_same_state(undisturbed, run)


@pytest.mark.parametrize(("where", "what", "epoch"), [(loop.Evaluator, "run", 3), (Run, "append_metrics", 1)])
def test_a_run_killed_in_its_validation_or_before_the_epoch_is_recorded(
    workspace, slim, undisturbed, monkeypatch, where, what, epoch
):
    class Kill(BaseException):
        pass

    original, calls = getattr(where, what), []

    def killing(*arguments, **options):
        calls.append(arguments)
        if len(calls) == epoch:
            raise Kill
        return original(*arguments, **options)

    monkeypatch.setattr(where, what, killing)
    with pytest.raises(Kill):
        loop.train(_plan(workspace, slim, 3), Path(slim.workspace.runs))
    monkeypatch.undo()
    run = Run(Path(slim.workspace.runs) / "train-smoke-001")
    assert len(run.read_metrics()) == epoch - 1
    loop.resume(plan_resume(run), run)
    _assert_same_state(undisturbed.run, run)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_with_a_checkpoint(workspace, slim, undisturbed, monkeypatch, number, code):
    """SIGINT between two batches; SIGTERM in a validation, which is not waited for."""
    before = signal.getsignal(number)
    place = (loop.ShowProgress, "on_train_batch_end") if number == signal.SIGINT else (loop.Journal, "_validate")
    original, calls = getattr(*place), []

    def signalling(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), number)
        return original(self, *arguments, **options)

    monkeypatch.setattr(*place, signalling)
    with pytest.raises(Interrupted, match="all is saved") as caught:
        loop.train(_plan(workspace, slim, 3), Path(slim.workspace.runs))
    monkeypatch.undo()
    assert caught.value.exit_code == code
    assert f"train --resume {slim.workspace.runs}/train-smoke-001" in caught.value.hint
    assert signal.getsignal(number) == before
    run = Run(Path(slim.workspace.runs) / "train-smoke-001")
    assert max(run.checkpoints.glob("state-*.npz")).name == f"state-{3 if number == signal.SIGINT else 10:09d}.npz"
    loop.resume(plan_resume(run), run)
    _assert_same_state(undisturbed.run, run)


@pytest.mark.parametrize("where", ["environment", "_inputs"])
def test_a_run_killed_at_once_resumes_from_its_beginning(workspace, slim, undisturbed, monkeypatch, where):
    monkeypatch.setattr(loop, where, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.train(_plan(workspace, slim, 3), Path(slim.workspace.runs))
    monkeypatch.undo()
    run = Run(Path(slim.workspace.runs) / "train-smoke-001")
    assert has_state(run.checkpoints) == (where == "_inputs")
    loop.resume(plan_resume(run), run)
    _assert_same_state(undisturbed.run, run)


def test_infinite_losses_stop_training_and_name_the_images(workspace, slim):
    exploding = slim.train.model_copy(update={"lr_max": 1e30, "lr_start": 1e30, "clip_norm": 1e30})
    plan = _plan(workspace, slim.model_copy(update={"train": exploding}), 3)
    with pytest.raises(RunError, match="infinite or NaN at step") as caught:
        loop.train(plan, Path(slim.workspace.runs))
    run = Run(Path(slim.workspace.runs) / "train-smoke-001")
    (state,) = run.path.glob("not-finite-*.npz")
    step = int(state.stem.rpartition("-")[2])
    assert f"at step {step}, images " in caught.value.message
    images = next(iter(plan.training.training_batches(4, slim.seed, step)))["images"]
    ids = plan.training.training_ids(4, slim.seed, step)
    for image, number in zip(np.asarray(images), ids, strict=True):
        assert str(number) in caught.value.message
        labelled = {label.image_id: one for one, label in _images(plan)}
        np.testing.assert_array_equal(image, labelled[number])
    assert len(read_arrays(state)[0]) == len(_state(run))


def _images(plan: TrainingPlan):
    for batch, labels in plan.training.evaluation_batches(8):
        yield from zip(batch["images"], labels, strict=True)


@pytest.mark.parametrize("step", [8, 10])
def test_out_of_memory_halves_the_batch_and_goes_on(workspace, slim, monkeypatch, caplog, step):
    """The accumulation has two images in it at 8; without one before, there is none to fill at 10."""
    accumulation = 1 if step == 10 else 3
    settings = slim.model_copy(update={"compute": slim.compute.model_copy(update={"accumulation": accumulation})})
    every_batch = settings.model_copy(update={"checkpoint_minutes": 1e-9})
    from tensorflow.errors import ResourceExhaustedError

    original = loop.Journal.on_train_batch_end

    def exhausting(self, batch, logs=None):
        original(self, batch, logs)
        if self.position.step == step and self.position.batch_size == 4:
            raise ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[4,64,64,32]")

    monkeypatch.setattr(loop.Journal, "on_train_batch_end", exhausting)
    with caplog.at_level("WARNING"):
        result = loop.train(_plan(workspace, every_batch, 3), Path(slim.workspace.runs))
    assert f"batches of 2, {2 * accumulation} to an update" in caplog.text
    finished = (step - 1) // 5
    assert [line["step"] for line in result.run.read_metrics()] == [5, 10, 30][:finished] + [10, 20, 30][finished:]
    assert result.run.settings().compute.batch_size == 2
    assert result.run.settings().compute.accumulation == 2 * accumulation
    assert all(np.isfinite(line["loss"]) for line in result.run.read_metrics())
    assert loop.resume(plan_resume(result.run), result.run) == result


def test_memory_that_runs_out_before_the_first_state_halves_the_batch_too(workspace, slim, monkeypatch, caplog):
    original = loop.build_training_model

    def exhausting(detector, settings, *more):
        if settings.compute.batch_size == 4:
            raise MemoryError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes")
        return original(detector, settings, *more)

    monkeypatch.setattr(loop, "out_of_memory", lambda error: isinstance(error, MemoryError))
    monkeypatch.setattr(loop, "build_training_model", exhausting)
    plan = _plan(workspace, slim, 1)
    with caplog.at_level("WARNING"):
        result = loop.train(plan, Path(slim.workspace.runs))
    assert "batches of 2, 6 to an update" in caplog.text
    assert [line["step"] for line in result.run.read_metrics()] == [10]


def test_a_run_keeps_the_precision_that_it_began_with(workspace, slim, monkeypatch):
    """A loss scale is part of the state, and another machine would choose otherwise."""
    compute = slim.compute.model_copy(update={"precision": "auto"})
    result = loop.train(_plan(workspace, slim.model_copy(update={"compute": compute}), 1), Path(slim.workspace.runs))
    elsewhere = {"auto": "mixed_float16"}
    for module in (loop, training_model):
        monkeypatch.setattr(module, "choose_precision", lambda setting: elsewhere.get(setting, setting))
    assert loop.resume(plan_resume(result.run), result.run) == result
    changed = settings_to_resume(result.run, None, ["compute.precision=mixed_float16"], {})
    assert changed.compute.precision == "float32"


def test_a_finished_run_without_its_lines_says_so(undisturbed, tmp_path):
    copy = Run(Path(shutil.copytree(undisturbed.run.path, tmp_path / "copy")))
    copy.metrics_file.unlink()
    with pytest.raises(RunError, match=r"metrics\.jsonl has no line") as caught:
        loop.resume(plan_resume(copy), copy)
    assert "best.npz" in caught.value.hint


def test_a_batch_that_cannot_be_halved(slim):
    compute = slim.compute.model_copy(update={"batch_size": 1})
    with pytest.raises(RunError, match="a batch of 1 at 64 pixels"):
        halve_batch(slim.model_copy(update={"compute": compute}))
    compute = slim.compute.model_copy(update={"batch_size": 4})
    shared = slim.model_copy(update={"compute": compute})
    assert halve_batch(shared, devices=2).compute.batch_size == 2
    with pytest.raises(RunError, match="1 images each at 64 pixels"):
        halve_batch(shared, devices=4)


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
    with pytest.raises(DataError, match="is not what") as other:
        plan_resume(copy, records=moved)
    assert other.value.message.startswith(f"{moved} ")
    assert f"that was {tmp_path / 'gone'};" in other.value.hint


def test_data_that_has_grown_is_divided_anew_and_that_is_said(undisturbed, workspace, slim, tmp_path, caplog):
    records = tmp_path / "records"
    shutil.copytree(workspace / "records", records)
    run = Run(Path(shutil.copytree(undisturbed.run.path, tmp_path / "run")))
    run.write_json("run.json", {**run.facts(), "records": str(records)})

    def warnings() -> str:
        caplog.clear()
        plan_evaluation(slim, run.best_weights)
        plan_run("finetune", slim, records, start_from=run.best_weights)
        return caplog.text

    assert "has changed since" not in warnings()
    build_records(workspace / "data", records, image_size=64, limit=20, overwrite=True)
    assert warnings().count(f"{records} has changed since") == 2


def test_the_weights_that_are_kept_are_averages(undisturbed):
    run = undisturbed.run
    settings = run.settings()
    trained = {weight.path: np.asarray(weight) for weight in load_detector(run.last_weights)[0].network.weights}
    detector = build_detector(settings.model, seed=1)
    model = loop.build_training_model(detector, settings, settings.train, 15)
    load_state(model, run.checkpoints, 4, 5)
    with averaged_weights(model):
        averages = {weight.path: np.array(weight) for weight in detector.network.weights}
    assert averages.keys() == trained.keys()
    for path, average in averages.items():
        np.testing.assert_array_equal(average, trained[path], err_msg=path)
    # the state holds the others as well, from which training goes on
    assert any((np.asarray(weight) != averages[weight.path]).any() for weight in detector.network.weights)


@given(steps=st.integers(1, 5), epochs=st.integers(1, 6), data=st.data())
def test_calls_of_fit_cover_the_rest_and_end_where_training_changes(steps, epochs, data):
    change = epochs - data.draw(st.integers(0, 7), "last epochs, without mosaic")
    step = data.draw(st.integers(0, steps * epochs - 1), "step")
    for first, end, epoch_steps in loop._legs(step, steps, epochs, change):
        assert first == step // steps  # as `Journal` counts
        assert first < end <= epochs
        assert not first < change < end
        step += (end - first) * epoch_steps
        assert step == end * steps
    assert step == epochs * steps


def test_mosaics_are_switched_off_for_good(slim):
    detector = build_detector(slim.model.model_copy(update={"classes": ("person",)}), seed=0)
    model = loop.build_training_model(detector, slim, slim.train, 10)
    batch = {
        "images": np.full((4, 64, 64, 3), 114, np.uint8),
        "boxes": np.tile(np.float32([1, 8, 8, 40, 56]), (4, 3, 1)),
        "crowd": np.zeros((4, 3), bool),
        "scores": np.ones((4, 3), np.float32),
    }
    assert model(batch, training=True)["boxes"].shape == (4, 12, 6)
    assert model(batch, training=False)["boxes"].shape == (4, 3, 6)
    model.make_train_function()
    model.switch_mosaic(True)
    assert model.train_function is not None
    model.switch_mosaic(False)
    assert model.train_function is None  # what was compiled has mosaics in it
    assert model(batch, training=True)["boxes"].shape == (4, 3, 6)


def test_early_stopping_keeps_the_best_not_the_last(workspace, slim, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.5, 0.1])
    original = loop.Evaluator.run

    def scored(self, *arguments):
        result = original(self, *arguments)
        result.metrics["loss"] = next(losses)
        return result

    monkeypatch.setattr(loop.Evaluator, "run", scored)
    few = {"early_stopping_epochs": 2, "steps_per_epoch": 3}
    patient = slim.model_copy(update={"train": slim.train.model_copy(update=few)})
    result = loop.train(_plan(workspace, patient, 5), Path(slim.workspace.runs))
    assert result.stopped_early
    assert (result.epochs, result.best["epoch"]) == (4, 2)
    assert load_detector(result.run.best_weights)[1]["epoch"] == 2
    assert load_detector(result.run.last_weights)[1]["epoch"] == 4


def test_chunks_follow_each_other(workspace, slim, caplog):
    runs = Path(slim.workspace.runs)
    slim = slim.model_copy(update={"train": slim.train.model_copy(update={"steps_per_epoch": 5})})
    first = _plan(workspace, slim, chunk=1)
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
            "finetune": slim.finetune.model_copy(update=vars(slim.train) | {"epochs": 3}),
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
        "train", slim.model_copy(update={"train": slim.train.model_copy(update={"epochs": 3})}), data=workspace / "data"
    )
    from_records = _plan(workspace, slim)
    ids = [label.image_id for _, labels in plan.validation.evaluation_batches(8) for label in labels]
    expected = [label.image_id for _, labels in from_records.validation.evaluation_batches(8) for label in labels]
    assert ids == expected  # both split alike
    result = loop.train(plan, Path(slim.workspace.runs))
    resumed = plan_resume(result.run)
    assert len(resumed.training) == len(plan.training)


def test_images_of_a_folder_that_cannot_be_read_are_no_background(workspace, slim, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(workspace / "data", data)
    slim = slim.model_copy(update={"train": slim.train.model_copy(update={"epochs": 3})})
    first, second = (image.file_name for image in plan_run("train", slim, data=data).training.images[:2])
    (data / "images" / first).write_bytes(b"")
    with pytest.raises(DataError, match=f"{first}: empty") as caught:
        plan_run("train", slim, data=data)
    assert "--skip-bad-records" in caught.value.hint
    plan = plan_run("train", slim, data=data, skip_bad_records=True)
    assert plan.facts["skipped_records"] == 1
    # one that is lost under way stops the run, whatever Keras makes of the error
    (data / "images" / second).unlink()
    with pytest.raises(DataError, match=f"{second}: missing"):
        loop.train(plan, Path(slim.workspace.runs))


@pytest.mark.parametrize("fault", ["vanished", "cut off"])
def test_records_that_are_lost_under_way_are_named(workspace, slim, tmp_path, monkeypatch, fault):
    records = shutil.copytree(workspace / "records", tmp_path / "records")
    plan = _plan(tmp_path, slim, 30)  # of records this small, the pipeline may hold some epochs read ahead
    [shard] = records.glob("*.tfrecord")
    original = loop.Journal.on_epoch_end

    def losing(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == 0:
            shard.unlink() if fault == "vanished" else os.truncate(shard, shard.stat().st_size // 2)

    monkeypatch.setattr(loop.Journal, "on_epoch_end", losing)
    with pytest.raises(
        DataError, match=f"{shard.name}; No such" if fault == "vanished" else "corrupted|truncated|cut off"
    ) as caught:
        loop.train(plan, Path(slim.workspace.runs))
    assert "records verify" in caught.value.hint
    run = Run(Path(slim.workspace.runs) / "train-smoke-001")
    assert f"--resume {run.path} goes on" in (run.path / "run.log").read_text()


def test_mlflow_that_cannot_be_reached_stops_nothing(workspace, slim, caplog, tmp_path):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is not a database" * 100)
    place = slim.workspace.model_copy(update={"mlflow_uri": f"sqlite:///{broken}"})
    plan = _plan(workspace, slim.model_copy(update={"workspace": place}))
    with caplog.at_level("WARNING"):
        result = loop.train(plan, Path(slim.workspace.runs))
    assert len(result.run.read_metrics()) == 3
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


def test_records_smaller_than_the_model_decide_its_size(workspace, slim, caplog):
    larger = slim.model_copy(update={"model": slim.model.model_copy(update={"image_size": 128})})
    with caplog.at_level("WARNING"):
        plan = _plan(workspace, larger, 1)
    assert plan.settings.model.image_size == 64
    assert "build-records --size 128" in caplog.text


@pytest.fixture(scope="module")
def large_records(workspace, tmp_path_factory) -> Path:
    """Records of 96 pixels."""
    folder = tmp_path_factory.mktemp("large") / "records"
    build_records(workspace / "data", folder, image_size=96)
    return folder


def test_larger_records_are_no_reason_to_warn(large_records, slim, caplog):
    with caplog.at_level("WARNING"):
        plan = plan_run("train", slim, large_records)
    assert (plan.settings.model.image_size, plan.training.image_size) == (64, 96)
    assert caplog.text == ""


def test_a_validation_without_boxes_has_losses_and_no_ap(workspace, slim, tmp_path, caplog):
    settings = slim.model_copy(update={"train": slim.train.model_copy(update={"epochs": 3})})
    held_out = {image.image_id for image in plan_run("train", settings, data=workspace / "data").validation.images}
    document = json.loads((workspace / "data/annotations.json").read_text("utf-8"))
    document["annotations"] = [box for box in document["annotations"] if box["image_id"] not in held_out]
    shutil.copytree(workspace / "data/images", tmp_path / "data/images")
    (tmp_path / "data/annotations.json").write_text(json.dumps(document))
    with caplog.at_level("INFO"):
        result = loop.train(plan_run("train", settings, data=tmp_path / "data"), Path(settings.workspace.runs))
    lines = result.run.read_metrics()
    assert [line[key] for line in lines for key in ("val_ap", "val_ap_large", "val_ap75_per_image")] == [-1] * 9
    assert result.best["val_loss"] == min(line["val_loss"] for line in lines) > 0
    assert caplog.text.count("AP none, AP50 none") == 3
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        names = {name for (name,) in database.execute("select distinct key from metrics")}
    assert "val_loss" in names and not any(name.startswith(("val_ap", "val_ar")) for name in names)


def test_the_recipe_for_small_data_on_larger_records_with_a_backbone_that_stays(large_records, tmp_path):
    """Everything the config `small-data` switches on; at a factor of zero the backbone is what it started from."""
    changes = {
        "model.image_size": 64,
        "model.head_depth": 1,
        "data.validation_records": 0,
        "compute.batch_size": 8,
        "compute.precision": "float32",
        "train.epochs": 1,
        "train.backbone_lr_factor": 0.0,
        "workspace.mlflow_uri": f"sqlite:///{tmp_path / 'mlflow.db'}",
    }
    settings = load_settings("small-data", values=changes)
    assert settings.model.backbone_weights is not None
    result = loop.train(plan_run("train", settings, large_records), tmp_path / "runs")
    assert all(np.isfinite(result.metrics[key]) for key in ("loss", "class_loss", "box_loss", "quality_loss"))
    start, _ = read_arrays(find_backbone(settings.model.backbone_weights))
    trained, header = read_arrays(result.run.last_weights)
    assert header["model"]["preset"] == "lite0"
    for path, array in start.items():
        # an average of equals, rounded
        np.testing.assert_allclose(trained[path], array.astype(np.float32), rtol=1e-6, err_msg=path)
    again, _ = load_detector(result.run.last_weights)  # without the backbone's file
    assert again.settings.backbone_weights is None


def test_a_backbone_that_is_not_there_leaves_no_run(workspace, slim):
    model = slim.model.model_copy(update={"backbone_weights": "efficientnet-lite0-imagnet"})
    with pytest.raises(WeightsError) as caught:
        loop.train(_plan(workspace, slim.model_copy(update={"model": model}), 1), Path(slim.workspace.runs))
    assert "efficientnet-lite0-imagenet" in caught.value.hint
    assert not Path(slim.workspace.runs).exists()
