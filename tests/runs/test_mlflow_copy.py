"""MLflow brought to what a run's files hold, and what becomes of it when MLflow is broken in every way we know."""

import json
import shutil
import socket
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fcoslite.config.load import load_settings
from fcoslite.errors import TrackingError
from fcoslite.runs.mlflow_copy import MlflowMirror
from fcoslite.runs.mlflow_thread import MlflowTracker
from fcoslite.runs.run import Run, create_run
from fcoslite.runs.summary import FINISHED, RUNNING, STOPPED, end_state

METRICS = [
    {"epoch": 1, "step": 5, "loss": 2.5, "val_loss": 2.0, "val_ap": 0.1},
    {"epoch": 2, "step": 10, "loss": 1.5, "val_loss": None, "val_ap": 0.30000000000000004},
    {"epoch": 3, "step": 15, "loss": 1 / 3, "val_loss": 1e-300, "val_ap": 0.2},
]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes it, which takes it some seconds."""
    folder = tmp_path_factory.mktemp("store")
    MlflowMirror(_run(folder), f"sqlite:///{folder / 'mlflow.db'}")
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("delete from tags")
        database.execute("delete from runs")
        database.commit()
    return folder / "mlflow.db"


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))


def _run(folder: Path, epochs: int = 3) -> Run:
    settings = load_settings("smoke", [f"train.epochs={epochs}", "workspace.mlflow_uri=http://host"])
    run = create_run(folder / "runs", "train", "smoke", settings, {"records": "records"})
    config = run.path / "config.yaml"  # as older versions have written it
    config.write_text(config.read_text().replace("http://host", "http://me:secret@host"))
    return run


def _append(run: Run, *lines: dict) -> Run:
    for line in lines:
        run.append_metrics(line)
    return run


def _sync(run: Run, store: Path, state: str = FINISHED) -> tuple[int, int]:
    update = MlflowMirror(run, f"sqlite:///{store}").update(state)
    return update.points, update.parameters


def _copies(store: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(store)) as database:
        return database.execute("select name, status from runs where lifecycle_stage = 'active'").fetchall()


def _stored(store: Path) -> Counter:
    query = """select key, step, value from metrics join runs using (run_uuid) where lifecycle_stage = 'active'"""
    with closing(sqlite3.connect(store)) as database:
        return Counter(database.execute(query).fetchall())


def _in_file(run: Run) -> Counter:
    return Counter(
        (key, line["step"], value)
        for line in run.read_metrics()
        for key, value in line.items()
        if key != "step" and value is not None
    )


def test_everything_arrives_once_and_exactly(store, tmp_path):
    run = _append(_run(tmp_path), *METRICS)
    points, parameters = _sync(run, store)
    assert points == 11
    assert parameters > 40
    assert _stored(store) == _in_file(run)
    assert _sync(run, store) == (0, 0)
    assert _stored(store) == _in_file(run)
    assert _copies(store) == [(run.name, "FINISHED")]
    with closing(sqlite3.connect(store)) as database:
        logged = dict(database.execute("select key, value from params").fetchall())
    assert logged["train.epochs"] == "3"
    assert "secret" not in str(logged)


def test_what_is_no_figure_does_not_arrive(store, tmp_path):
    run = _append(_run(tmp_path), METRICS[0] | {"val_ap_small": -1.0, "val_ap_large": 0.0})
    assert _sync(run, store)[0] == 5
    assert _stored(store) == _in_file(_append(_run(tmp_path), METRICS[0] | {"val_ap_large": 0.0}))
    assert _sync(run, store) == (0, 0)


def test_a_run_that_goes_on_keeps_its_copy(store, tmp_path):
    run = _append(_run(tmp_path), METRICS[0])
    mirror = MlflowMirror(run, f"sqlite:///{store}")
    assert mirror.update(RUNNING).points == 4
    _append(run, METRICS[1])
    assert mirror.update(RUNNING).points == 3
    assert mirror.update(STOPPED).points == 0
    assert _copies(store) == [(run.name, "KILLED")]
    moved = Run(run.path.rename(tmp_path / "elsewhere"))  # resumed by another process, from another place
    _append(moved, METRICS[2])
    assert _sync(moved, store, RUNNING) == (4, 0)
    assert _copies(store) == [(run.name, "RUNNING")]
    assert _stored(store) == _in_file(moved)


def test_runs_do_not_mix(store, tmp_path):
    runs = [_append(_run(tmp_path), METRICS[0]), _append(_run(tmp_path), METRICS[1])]
    for run in (*runs, *runs):
        _sync(run, store)
    assert len(_copies(store)) == 2
    assert _stored(store) == _in_file(runs[0]) + _in_file(runs[1])


@pytest.mark.parametrize("change", ["another value", "one line less", "twice", "another setting"])
def test_a_copy_that_differs_is_made_anew(store, tmp_path, change):
    run = _append(_run(tmp_path), *METRICS)
    _sync(run, store)
    if change == "another value":
        run.truncate_metrics(2)
        _append(run, {**METRICS[2], "loss": 0.25})
    elif change == "one line less":
        run.truncate_metrics(2)
    elif change == "twice":
        with closing(sqlite3.connect(store)) as database:
            database.execute(
                "insert into metrics select key, value, timestamp + 1, run_uuid, step, is_nan from metrics"
            )
            database.commit()
    else:  # as when memory did not suffice
        (run.path / "config.yaml").write_text(load_settings(run.path / "config.yaml", ["seed=9"]).to_yaml())
    points, _ = _sync(run, store)
    assert points == len(_in_file(run))
    assert _stored(store) == _in_file(run)
    assert _copies(store) == [(run.name, "FINISHED")]
    assert _sync(run, store) == (0, 0)


def test_what_the_user_adds_in_mlflow_stays(store, tmp_path):
    from mlflow import MlflowClient

    run = _append(_run(tmp_path), *METRICS)
    _sync(run, store)
    client = MlflowClient(f"sqlite:///{store}")
    (copy,) = client.search_runs(["1"])
    client.log_metric(copy.info.run_id, "my own", 1.0)
    client.set_tag(copy.info.run_id, "note", "good")
    assert _sync(run, store) == (0, 0)
    (again,) = client.search_runs(["1"])
    assert (again.data.tags["note"], again.data.metrics["my own"]) == ("good", 1.0)
    run.truncate_metrics(1)
    _sync(run, store)
    (anew,) = client.search_runs(["1"])
    assert anew.info.run_id != again.info.run_id
    assert anew.data.tags == again.data.tags


def test_runs_of_the_first_days_have_no_id_but_a_time(store, tmp_path):
    run = _append(_run(tmp_path), METRICS[0])
    run.write_json("run.json", {key: value for key, value in run.facts().items() if key != "id"})
    assert _sync(run, store)[0] == 4
    assert _sync(run, store)[0] == 0


def test_a_line_that_is_there_twice_counts_once(store, tmp_path):
    run = _append(_run(tmp_path), METRICS[0], METRICS[0], {**METRICS[0], "loss": 2.25})
    assert _sync(run, store)[0] == 4
    assert _sync(run, store)[0] == 0
    assert _stored(store)["loss", 5, 2.25] == 1
    assert _stored(store)["loss", 5, 2.5] == 0


def test_more_lines_than_a_call_may_hold(store, tmp_path):
    run = _run(tmp_path)
    lines = [{"epoch": n, "step": n, "loss": n / 7, "val_ap": n / 9} for n in range(1, 700)]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert _sync(run, store)[0] == 3 * 699
    assert _stored(store) == _in_file(run)


# --- MLflow in trouble


@pytest.fixture(
    params=["garbage", "truncated", "locked", "not a folder", "refused", "silent", "no module", "no scheme"]
)
def trouble(request, empty_store, tmp_path, monkeypatch) -> Iterator[tuple[str, str]]:
    """An address of MLflow that does not work, and a word of the reason."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    database = tmp_path / "broken.db"
    if request.param == "garbage":
        database.write_bytes(b"this is not a database" * 100)
        yield f"sqlite:///{database}", "damaged"
    elif request.param == "truncated":
        whole = empty_store.read_bytes()
        database.write_bytes(whole[: len(whole) // 2])
        yield f"sqlite:///{database}", "damaged"
    elif request.param == "locked":
        shutil.copy(empty_store, database)
        with closing(sqlite3.connect(database)) as other:
            other.execute("begin exclusive")
            yield f"sqlite:///{database}", "locked"
    elif request.param == "not a folder":
        (tmp_path / "file").write_text("")
        yield f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", "file"
    elif request.param in ("refused", "silent"):
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            if request.param == "silent":
                server.listen(8)  # the system accepts; nobody will answer
            yield f"http://127.0.0.1:{server.getsockname()[1]}", "127.0.0.1"
    elif request.param == "no module":
        monkeypatch.setitem(sys.modules, "mlflow", None)
        yield f"sqlite:///{database}", "cannot be loaded"
    else:
        yield "nonsense://nowhere", "nonsense"


def test_trouble_is_told_as_one_kind_of_error(trouble, tmp_path):
    uri, reason = trouble
    with pytest.raises(TrackingError, match=reason) as caught:
        MlflowMirror(_append(_run(tmp_path), *METRICS), uri).update(FINISHED)
    assert caught.value.hint
    if reason == "damaged":
        assert "runs sync" in caught.value.hint


def test_trouble_stops_no_run_and_is_told_once(trouble, tmp_path, caplog):
    uri, reason = trouble
    run = _run(tmp_path)
    with caplog.at_level("WARNING"):
        tracker = MlflowTracker(run, uri)
        for line in METRICS:
            _append(run, line)
            tracker.follow()
        tracker._thread.join(0.1)
        tracker.close()
        tracker._thread.join(60)
    assert not tracker._thread.is_alive()
    assert caplog.text.count("MLflow does not follow this run") == 1
    assert reason in caplog.text
    assert f"runs sync {run.path}" in caplog.text
    assert [line["loss"] for line in run.read_metrics()] == [line["loss"] for line in METRICS]


def test_a_full_disk(empty_store, small_disk, tmp_path):
    small_disk.resize(empty_store.stat().st_size + 2**16)
    store = Path(shutil.copy(empty_store, small_disk.path / "mlflow.db"))
    run = _run(tmp_path)
    lines = [{"epoch": n, "step": n, "loss": n / 7, "val_ap": n / 9} for n in range(1, 3000)]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(TrackingError, match="full"):
        _sync(run, store)
    small_disk.resize(2**23)  # room was made
    _sync(run, store)
    assert _stored(store) == _in_file(run)
    assert len(_copies(store)) == 1


def test_a_store_that_was_lost_is_filled_again(store, empty_store, tmp_path):
    run = _append(_run(tmp_path), *METRICS)
    _sync(run, store)
    whole = shutil.copy(store, tmp_path / "whole.db")
    store.write_bytes(store.read_bytes()[:50_000])
    with pytest.raises(TrackingError, match="damaged"):
        _sync(run, store)
    store.rename(tmp_path / "damaged.db")
    shutil.copy(empty_store, store)
    assert _sync(run, store)[0] == len(_in_file(run))
    assert _stored(store) == _in_file(run) == _stored(Path(whole))


# --- as it follows a run


def test_it_follows_a_run_to_its_end(store, tmp_path):
    run = _run(tmp_path)
    tracker = MlflowTracker(run, f"sqlite:///{store}")
    for line in METRICS:
        _append(run, line)
        tracker.follow()
    tracker.close()
    assert _stored(store) == _in_file(run)
    assert _copies(store) == [(run.name, "FINISHED")]
    assert _sync(run, store) == (0, 0)


def test_a_resumed_run_is_followed_in_the_same_copy(store, tmp_path):
    run = _append(_run(tmp_path), *METRICS[:2])
    MlflowTracker(run, f"sqlite:///{store}").close()
    assert _copies(store) == [(run.name, "KILLED")]
    run.truncate_metrics(1)  # the state of step 10 was damaged
    tracker = MlflowTracker(run, f"sqlite:///{store}")
    _append(run, {**METRICS[1], "loss": 1.25}, METRICS[2])
    tracker.close()
    assert _stored(store) == _in_file(run)
    assert _copies(store) == [(run.name, "FINISHED")]


def test_a_server_that_comes_back_gets_what_it_has_missed(store, tmp_path, caplog):
    away = store.rename(tmp_path / "away.db")
    store.write_bytes(b"garbage" * 1000)
    run = _run(tmp_path)
    with caplog.at_level("WARNING"):
        tracker = MlflowTracker(run, f"sqlite:///{store}")
        _append(run, METRICS[0])
        _until(lambda: tracker._failing)
        away.replace(store)
        _append(run, *METRICS[1:])
        tracker.follow()
        _until(lambda: not tracker._failing)
        tracker.close()
    assert _stored(store) == _in_file(run)
    assert end_state(run) == FINISHED
    assert len(caplog.records) == 1


def _until(condition) -> None:
    import time

    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to that")


@pytest.mark.parametrize("password", ["s3cret", "s3/cret", "s3@cret"])
def test_an_error_does_not_tell_a_password(password: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="MLflow at http://") as caught:
        MlflowMirror(_run(tmp_path), f"http://admin:{password}@127.0.0.1:1")
    assert "cret" not in caught.value.message and "admin" not in caught.value.message
