"""A run directory, `runs/<verb>-<name>-NNN/`, and what lies in it. No run is ever overwritten.

config.yaml        the settings, complete          run.log         the console log
run.json           verb, chunk, data, parent       curves.png      losses and AP
environment.json   versions and devices            checkpoints/    best.npz, last.npz, state-*.npz
metrics.jsonl      one line an epoch: the record of the run
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any

from fcoslite.config import ModelSettings, Settings, load_settings
from fcoslite.errors import RunError, WeightsError, closest
from fcoslite.files import replace_file

DEFAULT_WEIGHTS = "lite0"


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
    def best_weights(self) -> Path:
        """Weights of the epoch with the lowest validation loss."""
        return self.checkpoints / "best.npz"

    @property
    def last_weights(self) -> Path:
        """Weights of the last finished epoch."""
        return self.checkpoints / "last.npz"

    @property
    def metrics_file(self) -> Path:
        """The record of the run: one JSON object a line, an epoch each."""
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
        return load_settings(self.path / "config.yaml")

    def differences(self, settings: Settings) -> dict[str, tuple[Any, Any]]:
        """What was asked and what the run has, by `section.key`, where it is not the same.

        What the data decide, or the weights to fine-tune, or the memory of the accelerator, is left out.
        """
        weights = ("model.",) if self.facts().get("verb") == "finetune" else ()
        decided = ("compute.batch_size", "compute.accumulation", "model.classes", "model.image_size", *weights)
        moved = ("steps_per_epoch", "warmup_steps")  # by a batch that was halved
        asked, ours = settings.flat(), self.settings().flat()
        return {
            key: (value, ours[key])
            for key, value in asked.items()
            if value != ours[key] and not key.startswith(decided) and not key.endswith(moved)
        }

    def facts(self) -> dict[str, Any]:
        """What run.json holds: verb, chunk, data, parent, created.

        Raises:
            RunError: run.json is missing or damaged.
        """
        try:
            facts = json.loads((self.path / "run.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path} is not a run: {error}", "a run directory holds run.json") from None
        assert isinstance(facts, dict)
        return facts

    @property
    def records(self) -> Path | None:
        """The folder of records it was trained on; None if it was trained without records."""
        folder = self.facts().get("records")
        return Path(folder) if folder else None

    def write_settings(self, settings: Settings) -> None:
        """Write config.yaml, whole or not at all."""
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
        """All whole lines of metrics.jsonl; a line torn by a crash is left out."""
        if not self.metrics_file.is_file():
            return []
        lines = []
        for text in self.metrics_file.read_text("utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
        return lines

    def truncate_metrics(self, step: int) -> None:
        """Drop the lines after `step`: a resumed run writes them again. A torn line goes too."""
        kept = [line for line in self.read_metrics() if line["step"] <= step]
        replace_file(self.metrics_file, "".join(json.dumps(line) + "\n" for line in kept).encode())


def create_run(folder: Path, verb: str, name: str, settings: Settings, facts: Mapping[str, Any]) -> Run:
    """Make the next `<verb>-<name>-NNN` with its config.yaml and run.json."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"{verb}-{name}-"
    numbers = [
        int(match[1]) for path in folder.iterdir() if (match := re.fullmatch(re.escape(prefix) + r"(\d+)", path.name))
    ]
    number = max(numbers, default=0) + 1
    while True:
        run = Run(folder / f"{prefix}{number:03d}")
        try:
            run.path.mkdir()
            break
        except FileExistsError:  # another process was faster
            number += 1
    run.checkpoints.mkdir()
    run.write_settings(settings)
    created = datetime.now(UTC).isoformat()
    run.write_json("run.json", {"verb": verb, "name": name, "created": created, **facts})
    return run


def list_runs(folder: Path) -> list[Run]:
    """All runs in a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.iterdir():
        if (path / "run.json").is_file():
            run = Run(path)
            found.append((str(run.facts().get("created", "")), run.name, run))
    return [run for _, _, run in sorted(found, key=lambda item: item[:2])]


def open_run(text: str | Path, folder: Path) -> Run:
    """A run by its path, or by its name within `folder`.

    Raises:
        RunError: There is no such run.
    """
    for path in (Path(text), folder / str(text)):
        if (path / "run.json").is_file():
            return Run(path)
    names = [run.name for run in list_runs(folder)]
    hint = closest(str(text), names) or (
        f"runs here: {', '.join(names[-5:])}" if names else f"{folder}/ has no run yet"
    )
    raise RunError(f"no run named '{text}'", hint)


def packaged_weights() -> dict[str, Path]:
    """Trained detectors installed with the package, by name. Beside each lies the config it was trained with."""
    return {name: path for name, path in _installed().items() if path.with_suffix(".yaml").is_file()}


def find_weights(text: str | Path | None, folder: Path) -> Path:
    """The weights file that a user means.

    Args:
        text: A .npz file, a run's path or name, the name of packaged weights, or None for the newest run that has
            weights, else the packaged `lite0`.
        folder: Where runs are.

    Raises:
        WeightsError: There are none.
    """
    packaged = packaged_weights()
    if text is None:
        trained = [run.best_weights for run in list_runs(folder) if run.best_weights.is_file()]
        return trained[-1] if trained else packaged[DEFAULT_WEIGHTS]
    if Path(text).is_file():
        return Path(text)
    if str(text) in packaged:
        return packaged[str(text)]
    try:
        run = open_run(text, folder)
    except RunError as error:
        hint = closest(str(text), list(packaged)) or f"{error.hint}; packaged: {', '.join(packaged)}"
        raise WeightsError(f"no weights file, run or packaged weights named '{text}'", hint) from None
    if not run.best_weights.is_file():
        raise WeightsError(f"{run.path} holds no weights yet", "its first epoch was not finished; see train --resume")
    return run.best_weights


def find_backbone(text: str) -> Path:
    """The file to start a backbone from: a path, or the name of an installed backbone or detector.

    Raises:
        WeightsError: There is none.
    """
    if Path(text).is_file():
        return Path(text)
    installed = _installed()
    if text in installed:
        return installed[text]
    hint = closest(text, list(installed)) or f"a .npz file, or one of {', '.join(installed)}"
    raise WeightsError(f"no backbone weights named '{text}'", hint)


def _installed() -> dict[str, Path]:
    folder = Path(str(resources.files("fcoslite"))) / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.npz"))}


def run_of(weights: Path) -> Run | None:
    """The run whose checkpoints a weights file is among."""
    run = Run(weights.parent.parent)
    is_ours = weights.parent == run.checkpoints and (run.path / "run.json").is_file()
    return run if is_ours else None


def config_of(weights: Path) -> Path | None:
    """The config that a weights file was trained with: its run's, or one of its name beside it."""
    run = run_of(weights)
    config = run.path / "config.yaml" if run is not None else weights.with_suffix(".yaml")
    return config if run is not None or config.is_file() else None


def chunk_parent(folder: Path, chunk: int, fingerprint: str, model: ModelSettings) -> Run | None:
    """The newest run that trained `chunk` of the same data with the same model, and has weights."""
    for run in reversed(list_runs(folder)):
        facts = run.facts()
        if (facts.get("chunk"), facts.get("fingerprint")) != (chunk, fingerprint):
            continue
        if run.best_weights.is_file() and run.settings().model == model:
            return run
    return None
