"""A run directory, `runs/<verb>-<name>-NNN/`, and what lies in it. No run is ever overwritten.

config.yaml        the settings, complete          run.log         the console log
run.json           id, verb, chunk, data           curves.png      losses and AP
environment.json   versions and devices            checkpoints/    best.npz, last.npz, state-*.npz
metrics.jsonl      one line per epoch: the record of the run
Where weights are averaged at the end: keep.json, with figures, and checkpoints/ has before.npz and tuned.npz.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any
from uuid import uuid4

from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.errors import ConfigError, RunError, closest
from fcoslite.runs.mlflow_uri import refuse_password
from fcoslite.storage.files import replace_file
from fcoslite.storage.places import place

_RECORDS_OF_A_RUN = ("run.json", "config.yaml", "metrics.jsonl")  # one that is left makes a folder a run

_TEXTS = (  # in run.json
    "id", "verb", "name", "created", "records", "data", "fingerprint", "start_from", "teacher", "teacher_digest",
)  # fmt: skip
_COUNTS = ("epoch", "step")  # in every line of metrics.jsonl

_log = logging.getLogger("fcoslite")


@dataclass(frozen=True, slots=True)
class Run:
    """One run directory."""

    path: Path

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        """Folder of weights and training state."""
        return self.path / "checkpoints"

    @property
    def newest_step(self) -> int:
        """Batches trained when the newest training state was written, whole or not; 0 where there is none."""
        states = training_states(self.checkpoints)
        return int(states[-1].stem.rpartition("-")[2]) if states else 0

    @property
    def best_weights(self) -> Path:
        """Weights of the epoch with the lowest validation loss, perhaps averaged with those from before."""
        return self.checkpoints / "best.npz"

    @property
    def last_weights(self) -> Path:
        """Weights of the last finished epoch."""
        return self.checkpoints / "last.npz"

    @property
    def before_weights(self) -> Path:
        """Weights that fine-tuning began with, where they are averaged with its own."""
        return self.checkpoints / "before.npz"

    @property
    def tuned_weights(self) -> Path:
        """The best weights of fine-tuning before they were averaged."""
        return self.checkpoints / "tuned.npz"

    @property
    def keep_file(self) -> Path:
        """How the weights were averaged, and what that is worth."""
        return self.path / "keep.json"

    @property
    def metrics_file(self) -> Path:
        """The record of the run: one JSON object per line, a line per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def curves_file(self) -> Path:
        """Chart of losses and AP."""
        return self.path / "curves.png"

    @property
    def lock_file(self) -> Path:
        """Locked by the process that trains it."""
        return self.path / ".lock"

    def settings(self) -> Settings:
        """The settings it was started with.

        Raises:
            ConfigError: config.yaml is missing or damaged.
        """
        path = self.path / "config.yaml"
        settings = load_settings(path)
        # what a cut has taken would be a default; an older version may lack settings, but not the end
        *_, section = Settings.model_fields
        last = getattr(settings, section)
        *_, key = type(last).model_fields
        if key not in last.model_fields_set:
            raise ConfigError(
                f"{path} is cut short: it has no {section}.{key}",
                "put that of a run of the same command on the same data in its place: it is the same",
            )
        return settings

    def facts(self) -> dict[str, Any]:
        """What run.json holds: id, verb, chunk, data, created.

        Raises:
            RunError: run.json is missing or damaged.
        """
        try:
            facts = json.loads((self.path / "run.json").read_text("utf-8"))
            if not isinstance(facts, dict) or not all(isinstance(facts.get(key, ""), str) for key in _TEXTS):
                raise ValueError("run.json does not hold what it should")
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{self.path} is not a run: {error}", "a run directory holds run.json") from None
        return facts

    @property
    def id(self) -> str:
        """What others know it by; it stays when the directory is moved, and when the run is resumed.

        Raises:
            RunError: run.json is missing or damaged.
        """
        facts = self.facts()
        text = str(facts.get("id") or facts.get("created"))  # the earliest runs have no id
        if not re.fullmatch(r"[\w:.+-]{8,64}", text):
            raise RunError(f"{self.path}/run.json holds no id", "it was damaged or edited")
        return text

    @property
    def created(self) -> datetime:
        """When it was started; of a damaged run, when its directory was last changed."""
        try:
            return datetime.fromisoformat(str(self.facts()["created"])).astimezone(UTC)
        except (RunError, KeyError, ValueError, OverflowError):
            return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    @property
    def records(self) -> Path | None:
        """The folder of records it was trained on; None if it was trained without records."""
        folder = self.facts().get("records")
        return place(folder) if folder else None

    def write_settings(self, settings: Settings) -> None:
        """Write config.yaml, whole or not at all.

        Raises:
            ConfigError: It would hold a password.
        """
        refuse_password(settings.workspace.mlflow_uri)
        replace_file(self.path / "config.yaml", settings.to_yaml().encode())

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Write a JSON file into the run, whole or not at all."""
        replace_file(self.path / name, (json.dumps(document, indent=2, default=str) + "\n").encode())

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl and see it onto the disk."""
        # JSON has no NaN and no infinity
        line = {key: None if isinstance(value, float) and not isfinite(value) else value for key, value in line.items()}
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read_metrics(self) -> list[dict[str, Any]]:
        """All whole lines of metrics.jsonl; a line torn by a crash, or otherwise damaged, is left out."""
        return self._read_metrics()[0]

    def count_damaged_metrics(self) -> int:
        """How many lines `read_metrics` leaves out; but for a torn last one, which may be one that is being written."""
        return len(self._read_metrics()[1])

    def _read_metrics(self) -> tuple[list[dict[str, Any]], list[bytes]]:
        """The whole lines of metrics.jsonl, and the damaged ones: without the last if it is torn."""
        if not self.metrics_file.is_file():
            return [], []
        *texts, torn = self.metrics_file.read_bytes().split(b"\n")
        lines = [_parse_line(text) for text in (*texts, torn)]
        damaged = [text for text, line in zip(texts, lines, strict=False) if line is None and text.strip()]
        return [line for line in lines if line is not None], damaged

    def truncate_metrics(self, epochs: int) -> None:
        """Keep the lines of the first `epochs`: a resumed run writes the others again. A torn last line goes too.

        Other damaged lines are moved to metrics.jsonl.damaged.
        """
        lines, damaged = self._read_metrics()
        if damaged:
            aside = self.metrics_file.with_name(self.metrics_file.name + ".damaged")
            _log.warning("%s has damaged lines, %d: moved to %s", self.metrics_file, len(damaged), aside.name)
            with aside.open("ab") as file:
                file.writelines(line + b"\n" for line in damaged)
                file.flush()
                os.fsync(file.fileno())
        kept = [line for line in lines if line["epoch"] <= epochs]
        replace_file(self.metrics_file, "".join(json.dumps(line) + "\n" for line in kept).encode())


def _parse_line(text: bytes) -> dict[str, Any] | None:
    """A line of metrics; None if it is none: JSON can also be something else, and hold numbers beyond a float."""
    try:
        line = json.loads(text.decode("utf-8", "replace"))
        counts = [line[key] for key in _COUNTS]
        finite = all(isfinite(value) for value in line.values() if isinstance(value, (int, float)))
    except (ValueError, RecursionError, OverflowError, LookupError, TypeError):
        return None
    return line if isinstance(line, dict) and finite and all(type(n) is int and n >= 0 for n in counts) else None


def training_states(checkpoints: Path) -> list[Path]:
    """The states `state-<step>.npz` in a run's folder of checkpoints, whole or not; the newest is the last."""
    return sorted(checkpoints.glob("state-*.npz"))


def create_run(folder: Path, verb: str, name: str, settings: Settings, facts: Mapping[str, Any]) -> Run:
    """Make the next `<verb>-<name>-NNN` with its config.yaml and run.json; a kill leaves no half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    run_id, created = uuid4().hex, datetime.now(UTC).isoformat()
    unnamed = Run(folder / f".{run_id}")
    unnamed.checkpoints.mkdir(parents=True)
    try:
        unnamed.write_settings(settings)
        unnamed.write_json("run.json", {"id": run_id, "verb": verb, "name": name, "created": created, **facts})
        return Run(_take_next_name(unnamed.path, f"{verb}-{name}-"))
    except BaseException:
        shutil.rmtree(unnamed.path, ignore_errors=True)
        raise


def _take_next_name(path: Path, prefix: str) -> Path:
    """Rename a folder to `prefix` with the number after the highest that is taken beside it."""
    names = (re.fullmatch(re.escape(prefix) + r"(\d+)", other.name) for other in path.parent.iterdir())
    number = max((int(match[1]) for match in names if match), default=0) + 1
    while True:
        try:
            return path.rename(path.with_name(f"{prefix}{number:03d}"))
        except OSError:
            if not path.with_name(f"{prefix}{number:03d}").exists():
                raise
            number += 1  # another process was faster


def list_runs(folder: Path) -> list[Run]:
    """All runs in a folder, oldest first; damaged ones as well."""
    if not folder.is_dir():
        return []
    found = [Run(path) for path in folder.iterdir() if _is_run(path)]
    return sorted(found, key=lambda run: (run.created, run.name))


def warn_of_change(run: Run, data: Path, fingerprint: str) -> None:
    """Say so where the data of a run are others by now: what is held out of them it may have learned."""
    try:
        facts = run.facts()
    except RunError:  # told where the run itself is wanted
        return
    theirs = facts.get("data") or facts.get("records")
    if theirs is not None and str(data.resolve()) == theirs and facts.get("fingerprint", fingerprint) != fingerprint:
        _log.warning(
            "%s has changed since %s was trained on it, and may be divided anew: AP is too high where it has learned "
            "what is held out now",
            data,
            run.name,
        )


def distinct(runs: Iterable[Run]) -> dict[str, Run]:
    """Runs by what to call them beside each other: by path where several have a name; one given twice is there once."""
    different = list({run.path.resolve(): run for run in runs}.values())
    names = [run.name for run in different]
    return {run.name if names.count(run.name) == 1 else str(run.path): run for run in different}


def _is_run(path: Path) -> bool:
    try:
        return not path.name.startswith(".") and any((path / name).is_file() for name in _RECORDS_OF_A_RUN)
    except OSError:  # a folder that we may not look into
        return False


def open_run(text: str | Path, folder: Path) -> Run:
    """A run by its path, or by its name within `folder`.

    Raises:
        RunError: There is no such run.
    """
    for path in (Path(text), folder / str(text)):
        if _is_run(path):
            return Run(path)
    names = [run.name for run in list_runs(folder)]
    hint = closest(str(text), names) or (
        f"runs here: {', '.join(names[-5:])}" if names else f"{folder}/ has no run yet"
    )
    raise RunError(f"no run named '{text}'", hint)


def best_line(lines: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The line of the lowest validation loss; the last one where none was validated; None of none."""
    scored = [line for line in lines if isinstance(line.get("val_loss"), (int, float))]
    return min(scored, key=lambda line: line["val_loss"]) if scored else lines[-1] if lines else None


class LogFile(logging.FileHandler):
    """Appends messages, with time and level, to a file; what cannot be written is dropped.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing: where the disk is full, there is nobody to tell."""

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # of what could not be written before
            super().close()
