"""`fcoslite eval --visits`."""

from typing import TYPE_CHECKING

from fcoslite.camera.evaluate_visits import Outcome, VisitsPlan, evaluate_visits

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


def run_visits(plan: VisitsPlan, batch_size: int, dry_run: bool, terminal: "Terminal") -> None:
    """Judge, write visits.json, visits.html and, if that was asked for, the threshold; and show the table.

    Raises:
        FcosliteError: A threshold was to be written, and none keeps false alarms few enough.
    """
    from fcoslite.errors import FcosliteError
    from fcoslite.inference.keep_score import keep_score
    from fcoslite.reports.visits import write_visits
    from fcoslite.storage.files import write_json

    if dry_run:
        terminal.result(plan.describe())
        return
    outcome = evaluate_visits(plan, batch_size, terminal.progress)
    out = plan.evaluation.out
    write_visits(outcome, out / "visits.html")
    written = None
    if plan.place is not None and outcome.chosen is not None:
        written = keep_score(plan.evaluation.weights, outcome.chosen.score)
    document = outcome.document()
    document |= {"written": None if written is None else str(written), "report": str(out / "visits.html")}
    write_json(out / "visits.json", document)
    terminal.result(document, lambda: _render(outcome, terminal))
    for note in outcome.notes:
        terminal.note(note)
    if not terminal.as_json:
        terminal.note(f"{document['report']} has the pictures of what is missed and of the false alarms")
    if written is not None:
        terminal.note(f"webcam.score is {outcome.score:g} now in {written}")
    elif plan.place is not None:
        raise FcosliteError(
            f"no threshold keeps false alarms to {plan.alarms_per_day:g} a day: none is written",
            "allow more with --alarms-per-day, or train on frames of this camera",
        )


def _render(outcome: Outcome, terminal: "Terminal") -> None:
    plan = outcome.plan
    facts = plan.facts()
    names = ", ".join(one["camera"] for one in facts["cameras"][:5])
    span = f"{facts['watched_seconds']:,.4g} s"
    rows = []
    for row in outcome.rows:
        wait = "-" if row.seconds_to_first_box is None else f"{row.seconds_to_first_box:.1f}"
        marks = ["now"] * (row.score == plan.own_score) + ["chosen"] * (row == outcome.chosen)
        cells = [f"{row.score:g}", f"{row.found:,}", f"{row.missed:,}", wait, f"{row.calls:,}"]
        rows.append([*cells, f"{row.false_alarms:,}", f"{row.false_alarms_per_day:,.0f}", ", ".join(marks)])
    terminal.table(
        ["score", "found", "missed", "seconds to first box", "calls", f"false alarms in {span}", "as many a day", ""],
        rows,
        title=f"{facts['weights']}: {plan.visits:,} visits in {span} of {names} ({facts['frames']:,} frames, "
        f"{facts['seconds_apart']:g} s apart)",
    )
    if plan.alarms_per_day is not None and outcome.chosen is not None:
        chosen = outcome.chosen
        few = f"keeps false alarms to {plan.alarms_per_day:g} a day"
        advice = "" if plan.place is not None else "; --write-score keeps it for webcam, detect and export"
        terminal.note(f"--score {chosen.score:g} {few}, and finds {chosen.found:,} of {plan.visits:,} visits{advice}")
