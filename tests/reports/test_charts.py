"""Charts show the numbers that they are given."""

import numpy as np
import pytest

from fcoslite.reports.charts import Chart, Curve, draw_chart, draw_histogram, metric_curves, thinned


def _read(chart: Chart, number: int = 0) -> np.ndarray:
    """The points of a curve, read off the chart by its ticks."""
    line = np.array([point.split(",") for point in chart.curves[number].line.split()], float)
    read = []
    for column, ticks in enumerate((chart.x_ticks, chart.y_ticks)):
        (first, low), (last, high) = ((place, float(text)) for place, text in (ticks[0], ticks[-1]))
        read.append(low + (line[:, column] - first) / (last - first) * (high - low))
    return np.stack(read, axis=1)


def test_points_lie_where_the_ticks_say():
    points = [(1, 3.0), (2, 1.5), (3, 0.004), (7, 2.25)]
    others = [(2, 9.0), (6, -1.0)]
    chart = draw_chart("losses", "epoch", [Curve("a", "a", points, 0), Curve("b", "b", others, 1)])
    np.testing.assert_allclose(_read(chart), points, atol=0.02)
    np.testing.assert_allclose(_read(chart, 1), others, atol=0.02)
    assert [text for _, text in chart.x_ticks] == ["1", "2", "3", "4", "5", "6", "7"]
    assert chart.curves[0].marks[2][2] == "a, epoch 3: 0.004"


def test_a_single_point_and_equal_ones_are_drawn_inside():
    for points in ([(1, 0.5)], [(1, 0.0), (2, 0.0)], [(4, -2.0), (5, -2.0)]):
        chart = draw_chart("", "epoch", [Curve("a", "a", points, 0)])
        for x, y, _ in chart.curves[0].marks:
            assert 0 < x < 400 and 0 < y < 250


def test_ranges_that_are_given_are_kept():
    chart = draw_chart("", "recall", [Curve("a", "a", [(0.2, 0.5), (0.4, 0.6)], 0)], (0, 1), (0, 1))
    for ticks in (chart.x_ticks, chart.y_ticks):
        assert (ticks[0][1], ticks[-1][1]) == ("0", "1")
    np.testing.assert_allclose(_read(chart), [(0.2, 0.5), (0.4, 0.6)], atol=0.005)


def test_what_is_no_number_is_left_out():
    lines = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": None}, {"epoch": 3, "loss": "x"}, {"epoch": 4, "loss": 2}]
    [curve] = metric_curves({"one": lines}, ("loss", "val_loss"), alone=True)
    assert list(curve.points) == [(1, 1.0), (4, 2.0)]


def test_a_colour_a_run_and_a_style_a_metric():
    lines = [{"epoch": 1, "loss": 1.0, "val_loss": 2.0}]
    curves = metric_curves({"one": lines, "two": lines}, ("loss", "val_loss"), alone=False)
    looks = [(curve.name, curve.colour, curve.style) for curve in curves]
    assert looks == [("one: loss", 0, 0), ("one: val_loss", 0, 1), ("two: loss", 1, 0), ("two: val_loss", 1, 1)]
    legend = draw_chart("", "epoch", curves).legend
    assert [(entry.key, entry.colour, entry.style) for entry in legend] == [("loss", None, 0), ("val_loss", None, 1)]
    alone = draw_chart("", "epoch", metric_curves({"one": lines}, ("loss", "val_loss"), alone=True)).legend
    assert [(entry.key, entry.colour, entry.style) for entry in alone] == [("loss", 0, 0), ("val_loss", 1, 0)]


@pytest.mark.parametrize(("count", "most"), [(1, 5), (5, 5), (6, 5), (1000, 7), (100_001, 1000)])
def test_thinned_keeps_the_ends(count, most):
    left = thinned(range(count), most)
    assert (left[0], left[-1]) == (0, count - 1)
    assert len(left) <= most + 1 and left == sorted(set(left))


def test_bars_stand_where_the_ticks_say():
    edges, counts = [1, 2, 4, 8, 16], [3, 0, 40, 7]
    chart = draw_histogram(
        "sides", "pixels", edges, counts, [(value, str(value)) for value in (0.5, 1, 2, 4, 8, 16, 32)]
    )
    assert [text for _, text in chart.x_ticks] == ["1", "2", "4", "8", "16"]
    places = [x for x, _ in chart.x_ticks]
    assert np.diff(places) == pytest.approx(places[1] - places[0])
    assert [x for x, *_ in chart.bars] == [places[0], places[2], places[3]]
    (low_y, low), (high_y, high) = ((y, float(text)) for y, text in (chart.y_ticks[0], chart.y_ticks[-1]))
    for (_, y, wide, tall, text), count in zip(chart.bars, (3, 40, 7), strict=True):
        assert low + (y - low_y) / (high_y - low_y) * (high - low) == pytest.approx(count, abs=0.1)
        assert (y + tall, wide) == pytest.approx((low_y, places[1] - places[0]), abs=0.02)
        assert text.endswith(f": {count}")
