"""MLflow as a mirror of metrics.jsonl: helpful when it works, never in the way when it does not."""

import logging
import os
import queue
import threading
from collections.abc import Mapping
from typing import Any

_log = logging.getLogger("fcoslite")
_WAIT = 20.0  # seconds that the end of a run waits for MLflow


class MlflowTracker:
    """Sends lines of metrics to MLflow from a thread of its own.

    The queue is bounded and never waited for: a slow or dead server costs its own curves, never a step.

    Args:
        uri: An MLflow tracking URI, e.g. `sqlite:///mlflow.db` or `http://host:5000`.
        run_name: Shown in MLflow's UI.
        parameters: Flat settings.
    """

    def __init__(self, uri: str, run_name: str, parameters: Mapping[str, Any]) -> None:
        self._queue: queue.Queue[Mapping[str, Any] | None] = queue.Queue(maxsize=1000)
        self._thread = threading.Thread(target=self._work, args=(uri, run_name, dict(parameters)), daemon=True)
        self._warned = False
        self._status = "FINISHED"
        self._thread.start()

    def log(self, line: Mapping[str, Any]) -> None:
        """Hand over one line of metrics; `step` is its step."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._warn("it is too slow")

    def close(self, failed: bool = False) -> None:
        """Wait a little for what is still queued, and say how the run ended."""
        self._status = "FAILED" if failed else "FINISHED"
        try:
            self._queue.put(None, timeout=1.0)
        except queue.Full:
            return
        self._thread.join(_WAIT)
        if self._thread.is_alive():
            self._warn("it did not finish in time")

    def _work(self, uri: str, run_name: str, parameters: dict[str, Any]) -> None:
        try:
            # no usage statistics and no agent hints: nothing leaves the machine unasked
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            os.environ.setdefault("DO_NOT_TRACK", "true")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
            from mlflow import MlflowClient

            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.ERROR)
            client = MlflowClient(tracking_uri=uri)
            experiment = client.get_experiment_by_name("fcoslite")
            experiment_id = experiment.experiment_id if experiment else client.create_experiment("fcoslite")
            run_id = client.create_run(experiment_id, run_name=run_name).info.run_id
            for key, value in parameters.items():
                client.log_param(run_id, key, value)
            while (line := self._queue.get()) is not None:
                for key, value in line.items():
                    if isinstance(value, (int, float)) and key != "step":
                        client.log_metric(run_id, key, float(value), step=int(line["step"]))
            client.set_terminated(run_id, status=self._status)
        except Exception as error:
            self._warn(f"{type(error).__name__}: {error}")

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("MLflow does not follow this run (%s); metrics.jsonl holds everything", reason)
