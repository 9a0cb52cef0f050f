"""What is settled before a run starts: whole records, room on the disk, and that nobody else is at it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fcoslite.config.settings import Settings
from fcoslite.data.records.manifest import read_manifest
from fcoslite.errors import BusyError, ConfigError, DataError
from fcoslite.evaluation.evaluate import plan_evaluation
from fcoslite.models.detector import build_detector
from fcoslite.models.weights import save_weights
from fcoslite.runs.find_weights import find_weights
from fcoslite.runs.run import Run, create_run, list_runs
from fcoslite.storage.locks import locked
from fcoslite.training import loop
from fcoslite.training.checkpoint import Position, save_state
from fcoslite.training.plan import TrainingPlan, chunk_parent, plan_resume, plan_run
from tests.disks import SmallDisk
from tests.made_runs import make_run as _run


@pytest.fixture
def damaged(workspace: Path, tmp_path: Path) -> Path:
    """Records with one flipped bit among those that are trained on."""
    folder = shutil.copytree(workspace / "records", tmp_path / "damaged")
    shard = folder / read_manifest(folder).shards[0].name
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    return folder


def test_damaged_records_are_refused_or_skipped_and_counted(damaged: Path, slim: Settings) -> None:
    with pytest.raises(DataError, match="1 of 21 records") as caught:
        plan_run("train", slim, damaged)
    assert "--skip-bad-records" in caught.value.hint and "records verify" in caught.value.hint
    plan = plan_run("train", slim, damaged, skip_bad_records=True)
    described = plan.describe()
    assert plan.facts["skipped_records"] == 1 == described["skipped_records"]
    assert described["needed_disk_mb"] > 0 and described["free_disk_mb"] > 0
    assert len(plan.training) == 21  # the steps of an epoch stay the same


def test_a_run_that_skips_bad_records_is_resumed_so(damaged: Path, workspace: Path, slim: Settings) -> None:
    def begun(plan: TrainingPlan) -> Run:
        return create_run(Path(slim.workspace.runs), plan.verb, plan.name, plan.settings, plan.facts)

    skipping = begun(plan_run("train", slim, damaged, skip_bad_records=True))
    whole = begun(plan_run("train", slim, workspace / "records"))
    assert plan_resume(skipping).facts["skipped_records"] == 1
    assert "skipped_records" not in plan_resume(whole).facts
    with pytest.raises(DataError, match="1 of 21 records"):
        plan_resume(whole, records=damaged)
    assert plan_resume(whole, records=damaged, skip_bad_records=True).facts["skipped_records"] == 1


def test_a_second_process_in_the_same_run_is_refused(
    workspace: Path, slim: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Path(slim.workspace.runs)
    plan = plan_run("train", slim, workspace / "records")
    seen = []

    def fit(plan: Any, detector: Any, run: Run, *arguments: Any, **keywords: Any) -> None:
        seen.append(run)
        with pytest.raises(BusyError, match=f"{run.name} is being written by process"):
            loop.resume(plan, run)

    monkeypatch.setattr(loop, "_fit", fit)
    loop.train(plan, runs)
    loop.resume(plan, seen[0])
    assert len(seen) == 2
    assert "stopped" not in (seen[0].path / "run.log").read_text("utf-8")
    assert not seen[0].lock_file.exists()
    with locked(seen[0].lock_file, "it"), pytest.raises(BusyError):
        loop.resume(plan, seen[0])


def test_a_read_only_disk_is_told_before_the_work(workspace: Path, slim: Settings, small_disk: SmallDisk) -> None:
    small_disk.make_read_only()
    places = slim.workspace.model_copy(update={"runs": str(small_disk.path / "runs")})
    with pytest.raises(DataError, match="cannot be written to") as caught:
        plan_run("train", slim.model_copy(update={"workspace": places}), workspace / "records")
    assert "workspace.runs" in caught.value.hint
    with pytest.raises(DataError, match="cannot be written to"):
        plan_evaluation(slim, find_weights("lite0", workspace), workspace / "records", out=small_disk.path / "eval")


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("fcoslite.storage.space.free_bytes", lambda out: 100_000)
    yield


def test_a_disk_too_small_for_the_checkpoints_is_told_before_a_run_is_made(
    workspace: Path, slim: Settings, little_room: None
) -> None:
    with pytest.raises(DataError, match="MB are free") as caught:
        loop.train(plan_run("train", slim, workspace / "records"), Path(slim.workspace.runs))
    assert "workspace.runs" in caught.value.hint
    assert list_runs(Path(slim.workspace.runs)) == []


def test_the_room_that_is_asked_for_is_that_of_the_checkpoints(workspace: Path, slim: Settings, tmp_path: Path) -> None:
    plan = plan_run("train", slim, workspace / "records")
    detector = build_detector(plan.settings.model)
    model = loop.build_training_model(detector, plan.settings, plan.schedule, 10)
    state = save_state(model, Position(4, 5), tmp_path).stat().st_size
    needed = plan.needed_bytes(detector.network.count_params())
    assert 3 * state < needed < 5 * state


def test_a_chunk_that_starts_from_a_run_that_was_stopped_says_so(
    workspace: Path, slim: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    chunked = slim.model_copy(update={"data": slim.data.model_copy(update={"chunk_records": 10})})
    first = plan_run("train", chunked, workspace / "records", chunk=1)
    run = create_run(Path(slim.workspace.runs), "train", first.name, first.settings, first.facts)
    save_weights(build_detector(first.settings.model), run.best_weights)
    with caplog.at_level("WARNING"):
        assert plan_run("train", chunked, workspace / "records", chunk=2).start_from == run.best_weights
    assert "stopped before its end" in caplog.text
    run.append_metrics({"epoch": first.schedule.epochs, "step": 1})
    caplog.clear()
    with caplog.at_level("WARNING"):
        plan_run("train", chunked, workspace / "records", chunk=2)
    assert not caplog.text


def test_the_parent_of_a_chunk_is_the_newest_run_of_the_one_before(tmp_path):
    model = Settings().model
    _run(tmp_path, name="a", chunk=1, fingerprint="f")
    newest = _run(tmp_path, name="b", chunk=1, fingerprint="f")
    _run(tmp_path, name="c", chunk=1, fingerprint="f", weights=False)
    _run(tmp_path, name="d", chunk=1, fingerprint="other data")
    assert chunk_parent(tmp_path, 1, "f", model) == newest
    of_another_start = model.model_copy(update={"backbone_weights": "mine.npz"})
    assert chunk_parent(tmp_path, 1, "f", of_another_start) == newest
    assert chunk_parent(tmp_path, 1, "f", model.model_copy(update={"preset": "r50"})) is None
    assert chunk_parent(tmp_path, 2, "f", model) is None


def test_more_batches_to_an_update_than_there_are_would_learn_nothing(workspace: Path, slim: Settings) -> None:
    compute = slim.compute.model_copy(update={"accumulation": 16})
    schedule = slim.train.model_copy(update={"epochs": 3})  # of 5 batches
    settings = slim.model_copy(update={"compute": compute, "train": schedule})
    with pytest.raises(ConfigError, match="there are 15 batches in all, and 16 make one update"):
        plan_run("train", settings, workspace / "records")


def test_norms_that_a_backbone_has_no_choice_of(workspace: Path, slim: Settings) -> None:
    model = slim.model.model_copy(update={"preset": "lite", "backbone_norms": "frozen", "backbone_weights": None})
    with pytest.raises(ConfigError, match=r"model\.backbone_norms: .* has no such choice") as caught:
        plan_run("train", slim.model_copy(update={"model": model}), workspace / "records")
    assert "efficientnet_lite0" in caught.value.hint
