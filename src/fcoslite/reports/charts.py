"""Charts as numbers for an SVG, which a template writes: it takes its colours from the page, light or dark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from fcoslite.runs.figures import is_figure

WIDTH, HEIGHT = 400, 250  # of the SVG, its own units
LEFT, RIGHT, TOP, BOTTOM = 60, 10, 10, 40  # margins
COLOURS = 8  # that the page has
_MOST_POINTS = 1000  # of a curve; more are thinned out: nobody sees them
_MARKED = 40  # points of a curve that get a mark each


@dataclass(frozen=True)
class Curve:
    """A named line.

    Attributes:
        name: For the marks.
        key: For the legend, where curves of the same key are one.
        points: (x, y).
        colour: Its number, from 0 on.
        style: 0 drawn through, 1 dashed, 2 dotted.
    """

    name: str
    key: str
    points: Sequence[tuple[float, float]]
    colour: int
    style: int = 0


@dataclass(frozen=True)
class Drawn:
    """A curve in units of the SVG: its line, and (x, y, what it says) of each mark."""

    curve: Curve
    line: str
    marks: list[tuple[float, float, str]]


@dataclass(frozen=True)
class LegendEntry:
    """What a look means: its colour, None where it is one of several runs, its style, and whether it is a mark."""

    key: str
    colour: int | None
    style: int
    is_mark: bool


@dataclass(frozen=True)
class Chart:
    """A chart in units of the SVG.

    Attributes:
        title: Above it.
        x_label: Below its axis.
        x_ticks: (x, text).
        y_ticks: (y, text).
        curves: As drawn.
        legend: An entry per key.
    """

    title: str
    x_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    curves: list[Drawn]
    legend: list[LegendEntry]


@dataclass(frozen=True)
class Histogram:
    """A histogram in units of the SVG.

    Attributes:
        title: Above it.
        x_label: Below its axis.
        x_ticks: (x, text).
        y_ticks: (y, text).
        bars: (x, y, width, height, what it says) of each bin that is not empty.
    """

    title: str
    x_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    bars: list[tuple[float, float, float, float, str]]


def metric_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], keys: Sequence[str], alone: bool) -> list[Curve]:
    """The curves of some metrics over the epochs, those without a point left out.

    Args:
        runs: Lines of metrics.jsonl by the name of the run.
        keys: Of the metrics.
        alone: There is one run, and a colour per metric; else a colour per run and a style per metric.
    """
    curves = []
    for number, (name, lines) in enumerate(runs.items()):
        for style, key in enumerate(keys):
            points = [(float(line["epoch"]), float(line[key])) for line in lines if is_figure(line.get(key))]
            if points:
                mark, colour, look = (key, style, 0) if alone else (f"{name}: {key}", number, style)
                curves.append(Curve(mark, key, points, colour, look))
    return curves


def draw_chart(
    title: str,
    x_label: str,
    curves: Sequence[Curve],
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> Chart:
    """Lay a chart out.

    Args:
        title: Above it.
        x_label: Below its axis.
        curves: At least one, each with at least one point.
        x_range: Of the axis; None: of the points, which are then whole numbers.
        y_range: Of the axis; None: what the points need.
    """
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [y for curve in curves for _, y in curve.points]
    x_low, x_high = _wide(*(x_range or (min(xs), max(xs))))
    x_values = MaxNLocator(6, integer=x_range is None).tick_values(x_low, x_high)
    y_values = MaxNLocator(5).tick_values(*(y_range or _wide(min(ys), max(ys))))
    y_low, y_high = y_values[0], y_values[-1]

    def across(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 2)

    def down(y: float) -> float:
        return round(HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 2)

    drawn = []
    for curve in curves:
        points = thinned(curve.points, _MOST_POINTS)
        marked = points if len(points) < _MARKED else []
        marks = [(across(x), down(y), f"{curve.name}, {x_label} {x:g}: {y:.5g}") for x, y in marked]
        drawn.append(Drawn(curve, " ".join(f"{across(x):g},{down(y):g}" for x, y in points), marks))
    return Chart(
        title,
        x_label,
        [(across(x), f"{x:.6g}") for x in x_values if x_low <= x <= x_high],
        [(down(y), f"{y:.6g}") for y in y_values],
        drawn,
        _legend(curves),
    )


def draw_histogram(
    title: str, x_label: str, edges: Sequence[float], counts: Sequence[int], ticks: Sequence[tuple[float, str]]
) -> Histogram:
    """Lay a histogram out, its bins equally wide, whatever they hold.

    Args:
        title: Above it.
        x_label: Below its axis.
        edges: [B + 1] borders of the bins, ascending.
        counts: [B] of each bin.
        ticks: Values to name, and their names; those beyond the edges are left out.
    """
    y_values = MaxNLocator(5, integer=True).tick_values(0, max(1, *counts))
    wide = (WIDTH - LEFT - RIGHT) / len(counts)
    bottom, high = HEIGHT - BOTTOM, HEIGHT - TOP - BOTTOM
    bars = []
    for place, count in enumerate(counts):
        tall = count / y_values[-1] * high
        text = f"{edges[place]:.4g} to {edges[place + 1]:.4g}: {count:,}"
        if count:
            bars.append((round(LEFT + place * wide, 2), round(bottom - tall, 2), round(wide, 2), round(tall, 2), text))
    places = np.interp([value for value, _ in ticks], edges, np.arange(len(edges))).tolist()
    return Histogram(
        title,
        x_label,
        [
            (round(LEFT + place * wide, 2), text)
            for (value, text), place in zip(ticks, places, strict=True)
            if edges[0] <= value <= edges[-1]
        ],
        [(round(bottom - y / y_values[-1] * high, 2), f"{y:,.0f}") for y in y_values if y >= 0],
        bars,
    )


def _legend(curves: Sequence[Curve]) -> list[LegendEntry]:
    entries: dict[str, LegendEntry] = {}
    for curve in curves:
        known = entries.setdefault(curve.key, LegendEntry(curve.key, curve.colour, curve.style, len(curve.points) == 1))
        if known.colour != curve.colour:
            entries[curve.key] = replace(known, colour=None)
    return list(entries.values())


def thinned(items: Sequence[Any], most: int) -> list[Any]:
    """About `most` items out of many, evenly, the last one among them."""
    step = -(-len(items) // most)
    return list(items) if step <= 1 else [*items[: len(items) - 1 : step], items[-1]]


def _wide(low: float, high: float) -> tuple[float, float]:
    """A range that is one: around a single value, too."""
    if high > low:
        return low, high
    half = abs(low) / 10 or 0.5
    return low - half, high + half
