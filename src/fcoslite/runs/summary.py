"""Summaries of runs: state, progress and best epoch, read from their own files alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from fcoslite.config.load import load_settings, packaged_configs
from fcoslite.config.settings import FinetuneSettings, ScheduleSettings, Settings
from fcoslite.errors import FcosliteError
from fcoslite.runs.kept import read_kept
from fcoslite.runs.run import Run, best_line
from fcoslite.storage.locks import is_locked

RUNNING, FINISHED, STOPPED, DAMAGED = "running", "finished", "stopped", "damaged"


@dataclass(frozen=True, slots=True)
class Overview:
    """A run in a line.

    Attributes:
        name: Of its directory.
        verb: `train` or `finetune`.
        state: `running`, `finished`, `stopped` before its end, or `damaged`.
        epochs: Finished.
        planned_epochs: Of the whole run.
        best_epoch: That of the lowest validation loss; the last one where there is no validation.
        best_val_loss: Its validation loss.
        best_val_ap: Its AP.
        created: When it was started, ISO 8601, UTC.
        damage: Which of its files cannot be read, and why; empty where all can.
    """

    name: str
    verb: str
    state: str
    epochs: int
    planned_epochs: int | None
    best_epoch: int | None
    best_val_loss: float | None
    best_val_ap: float | None
    created: str
    damage: str


@dataclass(frozen=True, slots=True)
class Details:
    """A run in full.

    Attributes:
        overview: In a line.
        facts: What run.json holds: data, chunk, what it started from.
        config: The packaged config that its settings are compared with.
        changed: Settings that differ from it, by `section.key`: its value, and the run's.
        best: The best epoch's line of metrics.jsonl.
        last: The last epoch's.
        kept: The document of keep.json; None where there is none.
        files: Bytes by path within the run.
    """

    overview: Overview
    facts: dict[str, Any]
    config: str
    changed: dict[str, tuple[Any, Any]]
    best: dict[str, Any]
    last: dict[str, Any]
    kept: dict[str, Any] | None
    files: dict[str, int]


def overview(run: Run) -> Overview:
    """A run in a line, however damaged it is."""
    facts, settings, damage = _readable(run)
    schedule = _schedule(facts, settings)
    lines = run.read_metrics()
    best = best_line(lines) or {}
    state = RUNNING if is_locked(run.lock_file) else _end(run, lines, schedule) if schedule else DAMAGED
    return Overview(
        name=run.name,
        verb=str(facts.get("verb", "")),
        state=state,
        epochs=lines[-1]["epoch"] if lines else 0,
        planned_epochs=schedule.epochs if schedule else None,
        best_epoch=best.get("epoch"),
        best_val_loss=best.get("val_loss"),
        best_val_ap=best.get("val_ap"),
        created=run.created.isoformat(timespec="seconds"),
        damage=damage,
    )


def details(run: Run) -> Details:
    """A run in full, as far as it can be read."""
    facts, settings, _ = _readable(run)
    name = settings.name if settings and settings.name in packaged_configs() else "small-data"
    usual = load_settings(name).flat()
    actual = settings.flat() if settings else {}
    lines = run.read_metrics()
    files = [path for path in sorted(run.path.rglob("*")) if path.is_file()]
    return Details(
        overview=overview(run),
        facts=facts,
        config=name,
        changed={key: (usual[key], value) for key, value in actual.items() if value != usual[key]},
        best=best_line(lines) or {},
        last=lines[-1] if lines else {},
        kept=read_kept(run),
        files={path.relative_to(run.path).as_posix(): path.stat().st_size for path in files},
    )


def end_state(run: Run) -> str:
    """The state of a run that nobody trains any more: `finished`, or `stopped` before its end.

    Raises:
        FcosliteError: The run is damaged.
    """
    schedule = _schedule(run.facts(), run.settings())
    assert schedule is not None
    return _end(run, run.read_metrics(), schedule)


def _readable(run: Run) -> tuple[dict[str, Any], Settings | None, str]:
    """Facts and settings as far as they can be read, and what is the matter with those that cannot."""
    facts: dict[str, Any] = {}
    settings = None
    damage = []
    try:
        facts = run.facts()
    except FcosliteError as error:
        damage.append(error.message)
    try:
        settings = run.settings()
    except FcosliteError as error:
        damage.append(error.message)
    return facts, settings, "; ".join(damage)


def _schedule(facts: dict[str, Any], settings: Settings | None) -> ScheduleSettings | None:
    if settings is None or not facts:
        return None
    return settings.finetune if facts.get("verb") == "finetune" else settings.train


def _end(run: Run, lines: Sequence[dict[str, Any]], schedule: ScheduleSettings) -> str:
    """By the rules that training itself goes by: all epochs, or as many validations without a better loss.

    What is kept of the weights from before comes after that.
    """
    if isinstance(schedule, FinetuneSettings) and schedule.keep is not None and read_kept(run) is None:
        return STOPPED
    best, stale = inf, 0
    for line in lines:
        if "val_loss" in line:
            score = line["val_loss"] if isinstance(line["val_loss"], (int, float)) else inf
            best, stale = (score, 0) if score < best else (best, stale + 1)
    all_epochs = bool(lines) and lines[-1]["epoch"] >= schedule.epochs
    return FINISHED if all_epochs or stale >= schedule.patience else STOPPED
