"""Reports on runs: planned, and written as one HTML file that needs nothing beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.config.settings import Settings
from fcoslite.errors import WeightsError
from fcoslite.evaluation.plots import CURVES
from fcoslite.progress import Progress, no_progress
from fcoslite.reports.charts import Chart, Curve, draw_chart, metric_curves, thinned
from fcoslite.reports.page import Row, check_page_name, render_page, shown_value
from fcoslite.reports.run_facts import RunFacts, read_run
from fcoslite.reports.scoring import Scored, ScoringPlan, plan_scoring, score
from fcoslite.runs.figures import is_figure
from fcoslite.runs.run import Run, distinct
from fcoslite.storage.files import replace_file

_MOST_EPOCHS = 500  # lines of a table
# beside those that `runs plot` draws
_MORE_CURVES = (("teacher loss", ("teacher_loss",)), ("images per second in training", ("images_per_second",)))
_FACTS = ("start_from", "teacher")  # of run.json, not told elsewhere
_SHOWN_METRICS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


@dataclass(frozen=True)
class ReportPlan:
    """What will be reported.

    Attributes:
        runs: As their files tell them.
        scoring: What is evaluated on what.
        out: The HTML file.
    """

    runs: list[RunFacts]
    scoring: ScoringPlan
    out: Path

    def describe(self) -> dict[str, Any]:
        """The plan in plain words, for --dry-run."""
        images = next((len(plan.source) for plan in self.scoring.plans if plan is not None), 0)
        return {
            "file": str(self.out),
            "runs": [run.label for run in self.runs],
            "evaluated": [run.label for run, plan in zip(self.runs, self.scoring.plans, strict=True) if plan],
            "on": self.scoring.title,
            "images": images,
            "notes": self.notes(),
        }

    def notes(self) -> list[str]:
        """What is missing or damaged, run by run."""
        return [
            f"{run.label}: {note}"
            for run, unscored in zip(self.runs, self.scoring.notes, strict=True)
            for note in (*run.notes, unscored)
            if note
        ]


def plan_report(
    runs: Sequence[Run],
    out: Path,
    annotations: Path | None = None,
    images: Path | None = None,
    progress: Progress = no_progress,
) -> ReportPlan:
    """Read the runs, and choose and check the images that they are evaluated on.

    Args:
        runs: At least one; one that is named twice is reported once.
        out: The HTML file.
        annotations: COCO instances file to evaluate on, with `images`; None: see `plan_scoring`.
        images: Folder of its images.
        progress: Told about images that are checked.

    Raises:
        ConfigError: `out` is not named like an HTML file.
        DataError: The images that were named cannot be used.
        WeightsError: Weights cannot be used for them.
    """
    check_page_name(out)
    different = distinct(runs)
    read = [read_run(run, label) for label, run in different.items()]
    return ReportPlan(read, plan_scoring(list(different.values()), annotations, images, out.parent, progress), out)


def write_report(plan: ReportPlan, progress: Progress = no_progress) -> dict[str, Any]:
    """Evaluate, and write the file.

    Args:
        plan: From `plan_report`.
        progress: Told of every image that is evaluated.

    Returns:
        What is in it: the file, notes, and by run its metrics, the errors and the speed.
    """
    notes = plan.notes()
    scored: list[Scored | None] = []
    for run, one in zip(plan.runs, plan.scoring.plans, strict=True):
        try:
            scored.append(score(one, progress) if one is not None else None)
        except WeightsError as error:  # of one run; the others are reported
            scored.append(None)
            notes.append(f"{run.label}: is not evaluated: {error.message}")
    page = _page(plan, scored, notes)
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(plan.out, page.encode())
    return {
        "file": str(plan.out),
        "bytes": len(page.encode()),
        "evaluated_on": plan.scoring.title if any(scored) else None,
        "notes": notes,
        "runs": [
            {
                "name": run.label,
                "epochs": run.details.overview.epochs,
                "images_per_second": run.images_per_second,
                **({**one.document, "errors": one.errors, "milliseconds": one.milliseconds} if one else {}),
            }
            for run, one in zip(plan.runs, scored, strict=True)
        ],
    }


def _page(plan: ReportPlan, scored: Sequence[Scored | None], notes: Sequence[str]) -> str:
    return render_page(
        "report.html",
        runs=plan.runs,
        labels=[run.label for run in plan.runs],
        notes=notes,
        glance=_glance(plan.runs, scored),
        origin=_origin(plan.runs),
        settings=_settings(plan.runs),
        data=_rows([run.data for run in plan.runs]),
        curves=_curves(plan.runs),
        epochs=[_epochs(run) for run in plan.runs],
        most_epochs=_MOST_EPOCHS,
        evaluated_on=plan.scoring.title,
        scored=scored,
        sample=next((one for one in scored if one is not None), None),
        metrics=_metrics(scored),
        sizes=_SHOWN_METRICS,
        precision_recall=_precision_recall(plan.runs, scored),
        errors=_errors(scored),
        environment=_rows([run.environment for run in plan.runs]),
    )


def _glance(runs: Sequence[RunFacts], scored: Sequence[Scored | None]) -> list[Row]:
    views = [run.details.overview for run in runs]
    rows = [
        _row("state", [view.state for view in views]),
        _row("epochs", [f"{view.epochs} of {shown_value(view.planned_epochs)}" for view in views]),
        _row("best epoch", [view.best_epoch for view in views]),
        _row("loss, last epoch", [run.details.last.get("loss") for run in runs]),
        _row("validation loss, best epoch", [view.best_val_loss for view in views], min),
        _row("validation AP, best epoch", [view.best_val_ap for view in views], max),
        *(_row(name.upper(), _metric(scored, name), max) for name in ("ap", "ap50")),
        _row("F1 at the webcam's score", [one.errors["f1"] if one else None for one in scored], max),
        _row("images per second in training, median", [run.images_per_second for run in runs]),
        _row("ms per picture, one at a time", [one.milliseconds if one else None for one in scored]),
    ]
    return [
        Row(row.name, [float(f"{cell:.4g}") if isinstance(cell, float) else cell for cell in row.cells], row.best)
        for row in rows
        if any(cell is not None for cell in row.cells)
    ]


def _row(name: str, cells: list[Any], better: Callable[..., Any] | None = None) -> Row:
    known = [cell for cell in cells if is_figure(cell)]
    if better is None or len(known) < 2 or min(known) == max(known):
        return Row(name, cells)
    return Row(name, cells, frozenset(place for place, cell in enumerate(cells) if cell == better(known)))


def _metric(scored: Sequence[Scored | None], name: str) -> list[float | None]:
    return [one.document["metrics"].get(name) if one else None for one in scored]


def _origin(runs: Sequence[RunFacts]) -> list[Row]:
    rows = [
        {
            "command": run.details.overview.verb,
            "config": run.settings.get("name"),
            "started (UTC)": run.details.overview.created[:16].replace("T", " "),
            **{key.replace("_", " "): run.details.facts.get(key) for key in _FACTS},
            "folder": str(run.run.path),
        }
        for run in runs
    ]
    return _rows(rows)


def _rows(tables: Sequence[dict[str, Any]]) -> list[Row]:
    """Rows of runs side by side; a name that no run has a value for is left out."""
    names = list(dict.fromkeys(name for table in tables for name in table))
    rows = [Row(name, [table.get(name) for table in tables]) for name in names]
    return [row for row in rows if any(cell not in (None, "", [], {}) for cell in row.cells)]


def _settings(runs: Sequence[RunFacts]) -> tuple[list[str], list[Row]]:
    """Columns and rows: of one run, what differs from its config; of several, what differs between them."""
    verbs = {run.details.overview.verb for run in runs}
    obeyed = [key for key in Settings().flat() if key.split(".")[0] not in {"train", "finetune"} - verbs]
    if len(runs) == 1:
        changed = runs[0].details.changed
        rows = [Row(key, list(changed[key])) for key in obeyed if key in changed]
        return [f"config {runs[0].details.config}", "this run"], rows
    known = [run.settings for run in runs if run.settings]
    differing = [key for key in obeyed if any(one[key] != known[0][key] for one in known)]
    return [run.label for run in runs], [Row(key, [run.settings.get(key) for run in runs]) for key in differing]


def _curves(runs: Sequence[RunFacts]) -> list[Chart]:
    lines = {run.label: run.lines for run in runs}
    charts = []
    for title, keys in (*CURVES, *_MORE_CURVES):
        if curves := metric_curves(lines, keys, alone=len(runs) == 1):
            charts.append(draw_chart(title, "epoch", curves))
    return charts


def _epochs(run: RunFacts) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of all that metrics.jsonl holds."""
    columns = list(dict.fromkeys(key for line in run.lines for key in line))
    return columns, [[line.get(key) for key in columns] for line in thinned(run.lines, _MOST_EPOCHS)]


def _metrics(scored: Sequence[Scored | None]) -> list[Row]:
    names = dict.fromkeys(name for one in scored if one for name in one.document["metrics"])
    return [_row(name, _metric(scored, name), min if name.endswith("loss") else max) for name in names]


def _precision_recall(runs: Sequence[RunFacts], scored: Sequence[Scored | None]) -> Chart | None:
    """At three IoU thresholds, and a mark where the webcam's score is, at IoU 0.5."""
    curves = []
    recalls = np.linspace(0, 1, 101).tolist()
    for number, (run, one) in enumerate(zip(runs, scored, strict=True)):
        if one is None or one.precision[0].max() < 0:  # there is nothing to find
            continue
        for style, (place, key) in enumerate(((0, "IoU 0.50"), (5, "IoU 0.75"), (9, "IoU 0.95"))):
            points = list(zip(recalls, one.precision[place].tolist(), strict=True))
            colour, look = (style, 0) if len(runs) == 1 else (number, style)
            curves.append(Curve(f"{run.label}: {key}", key, points, colour, look))
        key = f"at score {one.least_score:g}"
        point = (one.errors["recall"], one.errors["precision"])
        curves.append(Curve(f"{run.label}: {key}", key, [point], 0 if len(runs) == 1 else number))
    return draw_chart("Precision over recall", "recall", curves, (0, 1), (0, 1)) if curves else None


def _errors(scored: Sequence[Scored | None]) -> list[Row]:
    """Of `error_figures`, counts and shares side by side."""
    tables = []
    for one in scored:
        table = {}
        if one is not None:
            table = {name: f"{one.errors[name]:.4f}" for name in ("precision", "recall", "f1")}
            table |= {f"boxes: {kind}": count for kind, count in one.errors["detections"].items()}
            missed = one.errors["missed"]
            table["missed"] = f"{missed['persons']} of {one.errors['persons']}"
            for size, counts in missed["by_size"].items():
                table[f"missed, {size}"] = f"{counts['missed']} of {counts['persons']}"
        tables.append(table)
    return _rows(tables)
