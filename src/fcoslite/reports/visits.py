"""The page of `eval --visits`: what each threshold brings, and a picture of each miss and each false alarm."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcoslite.camera.evaluate_visits import Outcome, Shown
from fcoslite.data.capture import spoken_date
from fcoslite.data.images import encode_picture, read_labelled
from fcoslite.data.sources.folder import FolderSource
from fcoslite.evaluation.detection_errors import WorstError, judge
from fcoslite.evaluation.error_pictures import draw_error
from fcoslite.reports.charts import Chart, Curve, draw_chart
from fcoslite.reports.page import Row, render_page
from fcoslite.storage.files import replace_file

_MOST = 200  # pictures of a kind
_CELL = 320  # pixels
_QUALITY = 82


@dataclass(frozen=True)
class _Picture:
    """A picture on the page: the JPEG's content, what it shows, its best score, and of which image."""

    jpeg: bytes
    caption: str
    score: float | None
    file_name: str


def write_visits(outcome: Outcome, out: Path) -> None:
    """Write the page.

    Args:
        outcome: How the watcher fares.
        out: The HTML file.
    """
    missed, false_alarms = outcome.missed, outcome.false_alarms
    page = render_page(
        "visits.html",
        facts=outcome.plan.facts(),
        row=next(row for row in outcome.rows if row.score == outcome.score),
        rows=[
            Row(
                f"{row.score:g}{' *' * (row.score == outcome.score)}",
                [
                    row.found,
                    row.missed,
                    None if row.seconds_to_first_box is None else f"{row.seconds_to_first_box:.1f}",
                    row.calls,
                    row.false_alarms,
                    round(row.false_alarms_per_day),
                ],
            )
            for row in outcome.rows
        ],
        charts=_charts(outcome),
        notes=outcome.notes,
        chosen=outcome.chosen,
        alarms_per_day=outcome.plan.alarms_per_day,
        missed=[_picture(outcome, one) for one in missed[:_MOST]],
        false_alarms=[_picture(outcome, one) for one in false_alarms[:_MOST]],
        more_missed=max(0, len(missed) - _MOST),
        more_false_alarms=max(0, len(false_alarms) - _MOST),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, page.encode())


def _charts(outcome: Outcome) -> list[Chart]:
    """Visits found and false alarms over the threshold, each with a mark where it is."""
    curves = {
        "Visits found, share": [(row.score, row.found / (row.found + row.missed)) for row in outcome.rows],
        "False alarms": [(row.score, float(row.false_alarms)) for row in outcome.rows],
    }
    charts = []
    for (title, points), y_range in zip(curves.items(), ((0, 1), None), strict=True):
        here = [point for point in points if point[0] == outcome.score]
        drawn = [Curve(title, title, points, 0), Curve(title, f"at score {outcome.score:g}", here, 1)]
        charts.append(draw_chart(title, "score threshold", drawn, (0, 1), y_range))
    return charts


def _picture(outcome: Outcome, shown: Shown) -> _Picture:
    """A miss or a false alarm in red, other boxes found green, labels in yellow dashes."""
    source = outcome.plan.evaluation.source
    assert isinstance(source, FolderSource)
    image = shown.image
    found = shown.found.take(shown.found.scores >= outcome.score)
    others = found.take(~np.isclose(found.boxes_xyxy, shown.box_xyxy).all(axis=1))
    drawn = draw_error(
        WorstError(judge(image, others), shown.box_xyxy, ""),
        read_labelled(image, source.dataset.folder, source.dataset.follow_links),
        _CELL,
    )
    jpeg = encode_picture(drawn, ".jpg", jpeg_quality=_QUALITY)
    score = "" if shown.is_miss or shown.best_score is None else f", best score {shown.best_score:.2f}"
    caption = f"{shown.camera}, {spoken_date(shown.began)}, for {shown.seconds:.1f} s{score}"
    return _Picture(jpeg, caption, shown.best_score, image.file_name)
