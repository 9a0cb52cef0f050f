"""The copy of a run in MLflow, brought to what the run's files hold.

The files are the truth. What MLflow lacks is added; where it holds something else, its copy is made anew. So a new run,
a resumed one, one whose store was lost, and one that was trained while MLflow was out of reach are all the same case.
"""

import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fcoslite.errors import FcosliteError, RunError, TrackingError
from fcoslite.progress import Progress, no_progress
from fcoslite.runs.figures import is_figure
from fcoslite.runs.run import Run
from fcoslite.runs.summary import FINISHED, RUNNING, STOPPED, end_state, overview
from fcoslite.text import without_user

_log = logging.getLogger("fcoslite")

_EXPERIMENT = "fcoslite"
_TAG = "fcoslite.run"  # holds the run's id, by which its copy is found again
_STATUS = {RUNNING: "RUNNING", FINISHED: "FINISHED", STOPPED: "KILLED"}
# MLflow's own limits
_PARAMETERS_A_CALL, _METRICS_A_CALL = 100, 1000
_LONGEST_PARAMETER = 6000  # characters

_ENVIRONMENT = {
    # no usage statistics and no agent hints: nothing leaves the machine unasked
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    # stdout is for the result of a command
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # a connection that is kept open goes on writing to a file that was moved away
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}

_Point = tuple[str, int, float]  # name, step, value
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Update:
    """What MLflow lacked, and got.

    Attributes:
        points: Values of metrics.
        parameters: Settings.
    """

    points: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Synced:
    """What was done for a run.

    Attributes:
        run: Its directory.
        state: See `overview`.
        uri: Where MLflow is.
        points: Values of metrics that MLflow lacked.
        parameters: Settings that it lacked.
        problem: Why nothing was done; empty where all went well.
    """

    run: str
    state: str
    uri: str = ""
    points: int = 0
    parameters: int = 0
    problem: str = ""


def sync_runs(
    runs: Sequence[Run], uri: str | None = None, dry_run: bool = False, progress: Progress = no_progress
) -> list[Synced]:
    """Bring MLflow to what runs hold. One that is damaged, or is being trained, does not keep the others from it.

    Args:
        runs: The runs.
        uri: An MLflow tracking URI; None takes what each run was trained with.
        dry_run: Only say what would be brought where.
        progress: Shown meanwhile.

    Raises:
        TrackingError: MLflow is missing, or its store damaged or out of reach.
    """
    done = []
    with progress("MLflow", len(runs), "runs") as advance:
        for run in runs:
            try:
                done.append(_sync(run, uri, dry_run))
            except TrackingError:
                raise
            except FcosliteError as error:
                done.append(Synced(str(run.path), overview(run).state, problem=error.message))
            advance()
    return done


def _sync(run: Run, uri: str | None, dry_run: bool) -> Synced:
    state = overview(run).state
    if state == RUNNING:  # two at once would enter everything twice
        raise RunError(f"{run.path} is being trained, which keeps MLflow up to date", "wait until it has ended")
    address = uri or run.settings().workspace.mlflow_uri
    update = Update(0, 0) if dry_run else MlflowMirror(run, address).update(end_state(run))
    return Synced(str(run.path), state, without_user(address), update.points, update.parameters)


class MlflowMirror:
    """The copy of one run.

    Args:
        run: The run.
        uri: An MLflow tracking URI, e.g. `sqlite:///mlflow.db` or `http://host:5000`.

    Raises:
        TrackingError: MLflow is missing, or its store damaged or out of reach.
        RunError: run.json is damaged.
    """

    def __init__(self, run: Run, uri: str) -> None:
        self._run = run
        self._uri = uri
        self._tags = {_TAG: run.id}
        with _trouble(uri):
            self._client = _connect(uri)
            self._experiment_id = self._find_experiment()
            self._find_copy()

    def update(self, state: str) -> Update:
        """Bring the copy to what the run's files hold now.

        Args:
            state: Of the run, see `overview`.

        Raises:
            TrackingError: MLflow did not take it.
            ConfigError: config.yaml is damaged.
        """
        # where files lie is no parameter of a run, and an address can hold a password
        settings = {key: str(value)[:_LONGEST_PARAMETER] for key, value in self._run.settings().flat().items()}
        parameters = {key: value for key, value in settings.items() if not key.startswith("workspace.")}
        points = _points(self._run)
        with _trouble(self._uri):
            self._drop_if_other(points, parameters)
            new_points = list((points - self._points).elements())
            new_parameters = {key: value for key, value in parameters.items() if key not in self._parameters}
            self._add(new_points, new_parameters)
            if self._status != _STATUS[state]:
                self._set_status(_STATUS[state])
        return Update(len(new_points), len(new_parameters))

    def _find_experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(_EXPERIMENT)
        return str(experiment.experiment_id if experiment else self._client.create_experiment(_EXPERIMENT))

    def _find_copy(self) -> None:
        found = self._client.search_runs([self._experiment_id], f"tags.`{_TAG}` = '{self._run.id}'", max_results=1)
        copy = found[0] if found else self._make_copy()
        self._tags |= copy.data.tags  # the user's notes among them
        self._id: str = copy.info.run_id
        self._status: str = copy.info.status
        self._parameters: dict[str, str] = dict(copy.data.params)
        self._points: Counter[_Point] = Counter(
            (name, point.step, point.value)
            for name in copy.data.metrics
            for point in self._client.get_metric_history(self._id, name)
        )

    def _make_copy(self) -> Any:
        started = int(self._run.created.timestamp() * 1000)
        return self._client.create_run(
            self._experiment_id, start_time=started, tags=self._tags, run_name=self._run.name
        )

    def _drop_if_other(self, points: Counter[_Point], parameters: dict[str, str]) -> None:
        """Delete a copy that holds what the files do not; MLflow itself can change neither points nor parameters."""
        names = {name for name, _, _ in points}  # others are the user's own
        other = any(name in names for name, _, _ in self._points - points)
        other |= any(parameters.get(key, value) != value for key, value in self._parameters.items())
        if other:
            _log.info("%s differs from its copy in MLflow, which is made anew", self._run.path)
            self._client.delete_run(self._id)
            self._find_copy()

    def _add(self, points: list[_Point], parameters: dict[str, str]) -> None:
        from mlflow.entities import Metric, Param

        for some in _batches(list(parameters.items()), _PARAMETERS_A_CALL):
            self._client.log_batch(self._id, params=[Param(key, value) for key, value in some])
            self._parameters |= dict(some)
        time = _written(self._run)
        for several in _batches(points, _METRICS_A_CALL):
            self._client.log_batch(self._id, metrics=[Metric(name, value, time, step) for name, step, value in several])
            self._points.update(several)

    def _set_status(self, status: str) -> None:
        if status == "RUNNING":
            self._client.update_run(self._id, status=status)
        else:
            self._client.set_terminated(self._id, status=status, end_time=_written(self._run))
        self._status = status


def _batches(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _points(run: Run) -> Counter[_Point]:
    """What metrics.jsonl holds; of a step that is there twice, the last."""
    latest = {
        (name, line["step"]): float(value)
        for line in run.read_metrics()
        for name, value in line.items()
        if name != "step" and is_figure(value)
    }
    return Counter((name, step, value) for (name, step), value in latest.items())


def _written(run: Run) -> int:
    """When metrics.jsonl was written last, milliseconds."""
    return int(run.metrics_file.stat().st_mtime * 1000) if run.metrics_file.is_file() else 0


def _connect(uri: str) -> Any:
    _check_sqlite(uri)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def _check_sqlite(uri: str) -> None:
    """Ask SQLite itself whether a store is whole: MLflow tries for minutes to open one that is not."""
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path, timeout=2.0)) as database:  # seconds, where it is locked
            verdict = database.execute("pragma quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError:
        raise  # locked or out of reach, not damaged
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise TrackingError(
            f"MLflow's store {path} is damaged ({verdict.splitlines()[-1]})",
            "move it away: MLflow makes a new one, and `fcoslite runs sync` fills it again",
        )


@contextmanager
def _trouble(uri: str) -> Iterator[None]:
    """Turn what MLflow and its many parts raise into one kind of error."""
    try:
        yield
    except FcosliteError:
        raise
    except ImportError as error:
        raise TrackingError(f"MLflow cannot be loaded: {error}", "pip install mlflow") from error
    except Exception as error:
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        user = uri.partition("://")[2].rpartition("@")[0]
        reason = told.replace(uri, without_user(uri)).replace(user or uri, "...")[:200]
        raise TrackingError(
            f"MLflow at {without_user(uri)} fails: {reason}", "see whether it runs and can be reached"
        ) from error
