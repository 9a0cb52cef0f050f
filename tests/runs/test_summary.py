"""Summaries of runs from their files, damaged ones among them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.errors import FcosliteError
from fcoslite.runs.find_weights import find_weights
from fcoslite.runs.run import Run, create_run, list_runs
from fcoslite.runs.summary import DAMAGED, FINISHED, RUNNING, STOPPED, details, end_state, overview
from fcoslite.training.plan import chunk_parent


def _run(folder: Path, verb: str = "train", losses: tuple[float | None, ...] = (), **schedule) -> Run:
    settings = load_settings("smoke", values={f"{verb}.{key}": value for key, value in schedule.items()})
    run = create_run(folder, verb, "smoke", settings, {"records": "somewhere", "chunk": 1, "fingerprint": "f"})
    run.best_weights.write_bytes(b"weights")
    for index, loss in enumerate(losses):
        run.append_metrics({"epoch": index + 1, "step": 5 * index + 5, "val_loss": loss, "val_ap": 0.1 * index})
    return run


@pytest.mark.parametrize(
    ("losses", "schedule", "state"),
    [
        ((), {"epochs": 3}, STOPPED),
        ((3.0, 2.0), {"epochs": 3}, STOPPED),
        ((3.0, 2.0, 1.0), {"epochs": 3}, FINISHED),
        ((3.0, 1.0, 2.0, 2.0), {"epochs": 9, "early_stopping_epochs": 2}, FINISHED),
        ((3.0, 1.0, 2.0, 0.5), {"epochs": 9, "early_stopping_epochs": 2}, STOPPED),
        ((1.0, 1.0, 1.0), {"epochs": 9, "early_stopping_epochs": 2}, FINISHED),  # as good is not better
        ((None, None), {"epochs": 9, "early_stopping_epochs": 2}, FINISHED),  # it was NaN
        ((1.0, 2.0, 3.0), {"epochs": 9, "early_stopping_epochs": None}, STOPPED),
        ((None, 1.0, None), {"epochs": 9, "early_stopping_epochs": 2}, STOPPED),
    ],
)
@pytest.mark.parametrize("verb", ["train", "finetune"])
def test_a_run_is_finished_when_training_would_say_so(tmp_path, verb, losses, schedule, state):
    run = _run(tmp_path, verb, losses, **schedule)
    assert overview(run).state == end_state(run) == state


def test_a_run_without_validation_ends_with_its_last_epoch(tmp_path):
    run = _run(tmp_path, epochs=2, early_stopping_epochs=1)
    run.append_metrics({"epoch": 1, "step": 5, "loss": 1.0})
    assert overview(run).state == STOPPED
    run.append_metrics({"epoch": 2, "step": 10, "loss": 2.0})
    assert overview(run).state == FINISHED
    assert overview(run).best_epoch == 2


def test_a_run_that_keeps_what_was_known_ends_with_the_average(tmp_path):
    run = _run(tmp_path, "finetune", losses=(1.0,), epochs=1, keep="auto")
    assert overview(run).state == end_state(run) == STOPPED
    run.write_json("keep.json", {})  # torn or edited
    assert details(run).kept is None
    figures = {one: {"ap": 0.5, "ap50": 0.7} for one in ("before", "tuned", "kept")}
    document = {"share": 0.4, "chosen": True, "sets": {"photographs": {"images": 32, **figures}}}
    run.write_json("keep.json", document)
    assert details(run).kept == document
    assert overview(run).state == end_state(run) == FINISHED


def test_a_run_is_running_while_a_process_holds_its_lock(tmp_path):
    run = _run(tmp_path, losses=(1.0,), epochs=3)
    code = (
        "import sys; from pathlib import Path; from fcoslite.storage.locks import locked\n"
        "with locked(Path(sys.argv[1]), 'it'): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(run.lock_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        assert overview(run).state == RUNNING
        holder.kill()  # the file stays, the lock does not
        holder.wait()
    assert run.lock_file.exists()
    assert overview(run).state == STOPPED


def test_a_run_in_full(tmp_path):
    run = _run(tmp_path, losses=(3.0, 1.0, 2.0), epochs=4)
    found = details(run)
    assert (found.overview.epochs, found.overview.planned_epochs) == (3, 4)
    assert (found.overview.best_epoch, found.overview.best_val_loss, found.overview.best_val_ap) == (2, 1.0, 0.1)
    assert (found.best["step"], found.last["step"]) == (10, 15)
    assert found.config == "smoke"
    assert found.changed == {"train.epochs": (load_settings("smoke").train.epochs, 4)}
    assert found.facts["records"] == "somewhere"
    assert found.files["checkpoints/best.npz"] == 7
    assert found.files["metrics.jsonl"] == run.metrics_file.stat().st_size


# --- damage


def _no_facts(run: Run) -> None:
    (run.path / "run.json").write_bytes(b"\xff{")


def _other_facts(run: Run) -> None:
    (run.path / "run.json").write_text('{"created": 5, "verb": []}')


def _facts_without_end(run: Run) -> None:
    (run.path / "run.json").write_text("[" * 100_000)


def _facts_gone(run: Run) -> None:
    (run.path / "run.json").unlink()


def _no_settings(run: Run) -> None:
    (run.path / "config.yaml").unlink()


def _other_settings(run: Run) -> None:
    (run.path / "config.yaml").write_text("train: [")


def _settings_is_a_folder(run: Run) -> None:
    _no_settings(run)
    (run.path / "config.yaml").mkdir()


DAMAGES = [_no_facts, _other_facts, _facts_without_end, _facts_gone, _no_settings, _other_settings]
DAMAGES += [_settings_is_a_folder]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_shown_as_one_and_harms_no_other(tmp_path, damage, caplog):
    folder = tmp_path / "runs"
    good = _run(folder, losses=(2.0,), epochs=1)
    bad = _run(folder, losses=(1.0,), epochs=1)
    damage(bad)
    (folder / "not a run").mkdir()
    (folder / "a file").write_text("")

    states = {run.name: overview(run).state for run in list_runs(folder)}
    assert states == {good.name: FINISHED, bad.name: DAMAGED}
    found = details(bad)
    assert found.overview.damage
    assert found.overview.epochs == 1
    assert found.files["checkpoints/best.npz"] == 7
    with pytest.raises(FcosliteError):
        end_state(bad)

    settings_are_whole = bool(found.changed) or damage in DAMAGES[:4]
    assert find_weights(None, folder) == (bad if settings_are_whole else good).best_weights
    assert chunk_parent(folder, 1, "f", Settings().model.model_copy(update={"preset": "r50"})) is None
    assert chunk_parent(folder, 1, "f", good.settings().model) == good
    assert "is passed over" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        '{"epoch": 2, "st',
        "5",
        "[]",
        '"epoch"',
        '{"epoch": 2}',
        '{"epoch": "2", "step": 10}',
        '{"epoch": true, "step": 10}',
        '{"epoch": -1, "step": 10}',
        '{"epoch": 2, "step": 10, "val_loss": NaN}',
        '{"epoch": 2, "step": 10, "val_loss": 1' + "0" * 400 + "}",
        '{"epoch": 2, "step": 1' + "0" * 5000 + "}",
        "[" * 100_000,
        "\x00\x00\x00",
    ],
    ids=range(13),
)
def test_damaged_lines_are_left_out(tmp_path, text):
    run = _run(tmp_path, losses=(3.0,), epochs=3)
    with run.metrics_file.open("a") as file:
        file.write(text + "\n")
    run.append_metrics({"epoch": 3, "step": 15, "val_loss": 2.0, "val_ap": 0.5})
    assert [line["step"] for line in run.read_metrics()] == [5, 15]
    assert (overview(run).state, overview(run).best_epoch) == (FINISHED, 3)


def test_a_value_that_is_no_number_harms_nothing(tmp_path):
    run = _run(tmp_path, losses=(3.0,), epochs=3)
    with run.metrics_file.open("a") as file:
        file.write(json.dumps({"epoch": 2, "step": 10, "val_loss": "low", "note": ["a"]}) + "\n")
    assert overview(run).best_epoch == 1
    assert details(run).last["note"] == ["a"]
