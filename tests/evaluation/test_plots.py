"""What charts draw, read from the figure that would be saved."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from fcoslite.evaluation import plots
from fcoslite.evaluation.coco_metrics import COCO_FIGURES


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures in the order in which they are saved; they are."""
    figures: list[Figure] = []
    save = plots.save_figure

    def note(figure: Figure, path: Path, whole: bool = False) -> None:
        figures.append(figure)
        save(figure, path, whole)

    monkeypatch.setattr(plots, "save_figure", note)
    return figures


def test_curves_leave_out_what_is_no_figure(tmp_path: Path, drawn: list[Figure]) -> None:
    lines = [
        {"epoch": 1, "step": 5, "loss": 3.0, "val_loss": 2.0, "val_ap": -1.0, "val_ap50": 0.0, "val_ap75": -1.0},
        {"epoch": 2, "step": 10, "loss": 2.0, "val_loss": None, "val_ap": 0.5, "val_ap50": 0.25, "val_ap75": -1.0},
    ]
    plots.plot_curves(lines, tmp_path / "curves.png")
    of = {line.get_label(): line.get_xydata().tolist() for axes in drawn[0].axes for line in axes.lines}
    assert of["val_ap"] == [[2, 0.5]] and of["val_ap50"] == [[1, 0], [2, 0.25]] and of["val_loss"] == [[1, 2]]
    assert "val_ap75" not in of
    nothing = [line | {"val_ap": -1.0, "val_ap50": -1.0} for line in lines]
    plots.plot_curves(nothing, tmp_path / "curves.png")
    assert [text.get_text() for text in drawn[1].axes[4].texts] == ["no figures"]


def test_sizes_without_a_box_have_no_figure(tmp_path: Path, drawn: list[Figure]) -> None:
    metrics = dict.fromkeys(COCO_FIGURES, 0.5) | {"ap_small": -1.0, "ar_small": -1.0, "ap_medium": 0.0}
    plots.plot_sizes(metrics, tmp_path / "sizes.png")
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts == ["none", "0.000", "0.500", "none", "0.500", "0.500"]


def test_precision_without_a_box_has_no_line(tmp_path: Path, drawn: list[Figure]) -> None:
    for precision in (-1.0, 0.0, 0.5):
        plots.plot_precision_recall(np.full((10, 101), precision), tmp_path / "curve.png")
    labels = [figure.axes[0].lines[0].get_label() for figure in drawn]
    assert labels == ["IoU 0.50: AP none", "IoU 0.50: AP 0.000", "IoU 0.50: AP 0.500"]
    seen = [np.isfinite(figure.axes[0].lines[0].get_ydata()).all() for figure in drawn]
    assert seen == [False, True, True]
