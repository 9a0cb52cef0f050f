"""What a run's own files, and the data they name, say for a report; nothing is evaluated."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from fcoslite.config.settings import Settings
from fcoslite.data.formats.open import data_of_run
from fcoslite.data.records.manifest import load_manifest
from fcoslite.data.sources.split import split, split_dataset
from fcoslite.errors import FcosliteError
from fcoslite.runs.figures import is_figure
from fcoslite.runs.run import Run
from fcoslite.runs.summary import Details, details
from fcoslite.storage.places import place


@dataclass(frozen=True)
class RunFacts:
    """A run as its files tell it.

    Attributes:
        run: The run.
        label: Its name; its path where several runs of the report have that name.
        details: State, facts, best and last metrics.
        settings: By `section.key`; empty if config.yaml cannot be read.
        lines: Of metrics.jsonl.
        data: What it was trained on: rows of name and value.
        environment: Versions and devices of its training: rows of name and value.
        notes: What is missing or damaged.
    """

    run: Run
    label: str
    details: Details
    settings: dict[str, Any]
    lines: list[dict[str, Any]]
    data: dict[str, Any]
    environment: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def images_per_second(self) -> float | None:
        """Of training, the median over its epochs; None where no epoch tells."""
        speeds = [line["images_per_second"] for line in self.lines if is_figure(line.get("images_per_second"))]
        return median(speeds) if speeds else None


def read_run(run: Run, label: str) -> RunFacts:
    """Read what there is; what cannot be read becomes a note."""
    found = details(run)
    notes = [found.overview.damage] if found.overview.damage else []
    if damaged := run.count_damaged_metrics():
        notes.append(f"{damaged} damaged line{'s' * (damaged > 1)} of metrics.jsonl left out")
    lines = run.read_metrics()
    if not lines:
        notes.append("no epoch is finished, so there are no curves")
    settings = None
    with suppress(FcosliteError):  # `damage` tells
        settings = run.settings()
    data, missing = _data(found, settings, lines)
    environment, unreadable = _environment(run.path / "environment.json")
    notes += [note for note in (missing, unreadable) if note]
    return RunFacts(run, label, found, settings.flat() if settings else {}, lines, data, environment, tuple(notes))


def _data(found: Details, settings: Settings | None, lines: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    facts = found.facts
    named = ("records", "data", "rehearse", "fingerprint", "chunk", "skipped_records")
    rows: dict[str, Any] = {key: facts[key] for key in named if key in facts}
    note = ""
    if settings is not None:
        try:
            rows |= _counts(facts, settings)
        except (FcosliteError, OSError) as error:
            note = f"its data cannot be counted: {error}"
        if lines:
            rows["images seen in training"] = lines[-1]["step"] * settings.compute.batch_size
    return {key.replace("_", " "): value for key, value in rows.items() if value is not None}, note


def _counts(facts: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Images and boxes of the data as it is now, and how many of the images train and validate."""
    if facts.get("records"):
        manifest = load_manifest(place(facts["records"]))
        images, boxes = manifest.count, manifest.boxes
        parts = split(images, settings.data)
    elif facts.get("data"):
        dataset = data_of_run(facts, settings.model.classes)
        images = len(dataset.images)
        boxes = int(np.sum([len(image.boxes_xyxy) for image in dataset.images]))
        _, parts = split_dataset(dataset, settings.data, settings.seed)
    else:
        return {}
    chunk = facts.get("chunk")
    return {
        "images": images,
        "boxes, with those of crowds": boxes,
        "images to train on": len(parts.chunk(chunk if isinstance(chunk, int) else None)),
        "images to validate on": len(parts.validation),
    }


def _environment(path: Path) -> tuple[dict[str, Any], str]:
    try:
        document = json.loads(path.read_text("utf-8"))
        if not isinstance(document, dict):
            raise ValueError("it holds no settings")
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"environment.json cannot be read: {error}"
    versions = document.pop("versions", {})
    return {**document, **(versions if isinstance(versions, dict) else {})}, ""
