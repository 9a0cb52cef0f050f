"""A thread that keeps MLflow up to date while a run trains, and never holds training up."""

import logging
import threading

from fcoslite.errors import FcosliteError
from fcoslite.runs.mlflow_copy import MlflowMirror
from fcoslite.runs.run import Run
from fcoslite.runs.summary import RUNNING, end_state

_log = logging.getLogger("fcoslite")
_WAIT = 30.0  # seconds that the end of a run waits for MLflow


class MlflowTracker:
    """Brings MLflow to what the run's files hold, from a thread of its own, whenever it is told that they have grown.

    The thread reads the run's files, so no queue can pile up: a slow or dead server costs its own curves, never a step,
    and once it answers again it gets all that it has missed.

    Args:
        run: The run.
        uri: An MLflow tracking URI, e.g. `sqlite:///mlflow.db` or `http://host:5000`.
    """

    def __init__(self, run: Run, uri: str) -> None:
        self._run = run
        self._uri = uri
        self._news = threading.Event()
        self._news.set()
        self._ended = False
        self._failing = False
        self._warned = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def follow(self) -> None:
        """Say that the run's files have grown."""
        self._news.set()

    def close(self) -> None:
        """Let MLflow take the rest and the run's end; wait for it a little, and not at all while it fails."""
        self._ended = True
        self._news.set()
        if self._failing:
            return
        self._thread.join(_WAIT)
        if self._thread.is_alive():
            self._warn("it is too slow")

    def _work(self) -> None:
        mirror = None
        ended = False
        while not ended:
            self._news.wait()
            self._news.clear()
            ended = self._ended
            try:
                mirror = mirror or MlflowMirror(self._run, self._uri)
                mirror.update(end_state(self._run) if ended else RUNNING)
                self._failing = False
            except Exception as error:  # whatever happens here must not reach training
                mirror = None
                self._failing = True
                self._warn(f"{error} ({error.hint})" if isinstance(error, FcosliteError) else repr(error))

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "MLflow does not follow this run: %s; metrics.jsonl holds everything, and `fcoslite runs sync %s` "
                "enters it later",
                reason,
                self._run.path,
            )
