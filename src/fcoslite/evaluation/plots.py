"""Charts as PNG: precision-recall, AP by size, training curves."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot: no window, no global state
from matplotlib.lines import Line2D

from fcoslite.runs.figures import figure_text, is_figure
from fcoslite.storage.files import replace_file

# what metrics.jsonl holds of training and of validation, by chart
CURVES = (
    ("total loss", ("loss", "val_loss")),
    ("class loss", ("class_loss", "val_class_loss")),
    ("box loss", ("box_loss", "val_box_loss")),
    ("quality loss", ("quality_loss", "val_quality_loss")),
    ("validation AP", ("val_ap", "val_ap50", "val_ap75")),
    ("learning rate", ("learning_rate",)),
)


def plot_precision_recall(precision: np.ndarray, path: Path) -> None:
    """Precision over recall at IoU 0.50, 0.75 and 0.95, from [10, 101] of `coco_metrics`."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    curves = {f"IoU {threshold:.2f}": precision[row] for row, threshold in ((0, 0.50), (5, 0.75), (9, 0.95))}
    draw_precision_recall(axes, curves)
    axes.legend()
    save_figure(figure, path)


def draw_precision_recall(axes: Axes, curves: Mapping[str, np.ndarray]) -> None:
    """Curves of precision by name, [101] each over recall; one of -1, where there is nothing to find, has no line."""
    for name, curve in curves.items():
        known = np.where(curve < 0, np.nan, curve)
        axes.plot(np.linspace(0, 1, 101), known, label=f"{name}: AP {figure_text(float(curve.mean()), 3)}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="Precision and recall")
    axes.grid(alpha=0.3)


def plot_sizes(metrics: Mapping[str, float], path: Path) -> None:
    """AP and AR by COCO's object sizes (small < 32², medium < 96² pixels)."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    sizes = ("small", "medium", "large")
    for offset, kind in ((-0.2, "ap"), (0.2, "ar")):
        values = [max(metrics[f"{kind}_{size}"], 0.0) for size in sizes]
        bars = axes.bar(np.arange(3) + offset, values, 0.38, label=kind.upper())
        axes.bar_label(bars, [figure_text(metrics[f"{kind}_{size}"], 3) for size in sizes])
    axes.set_xticks(range(3), sizes)
    axes.set(ylim=(0, 1.05), title="By size of the object")
    axes.legend()
    save_figure(figure, path)


def plot_curves(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Losses, AP and learning rate over the epochs, from the lines of metrics.jsonl."""
    compare_curves({"": lines}, path)


def compare_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """The curves of several runs in one chart, from their lines of metrics.jsonl by name."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    alone = len(runs) == 1
    for axes, (title, keys) in zip(panels, CURVES, strict=True):
        for number, lines in enumerate(runs.values()):
            for style, key in zip(("-", "--", ":"), keys, strict=False):
                points = [(line["epoch"], line[key]) for line in lines if is_figure(line.get(key))]
                if points:
                    # one run: a colour per curve; several: a colour per run, a style per curve
                    look = {} if alone else {"color": f"C{number % 10}", "linestyle": style}
                    marker = "." if len(points) < 40 else None
                    axes.plot(*zip(*points, strict=True), marker=marker, label=key, **look)
        axes.set(title=title, xlabel="epoch")
        if axes.lines:
            axes.grid(alpha=0.3)
            first = {line.get_label(): line for line in reversed(axes.lines)}
            axes.legend(handles=[first[key] for key in keys if key in first])
        else:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no figures", ha="center", va="center")
    if not alone:
        colours = [Line2D([], [], color=f"C{number % 10}", label=name) for number, name in enumerate(runs)]
        figure.legend(handles=colours, loc="outside lower center", ncols=3)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path, whole: bool = False) -> None:
    """As PNG; `whole` makes room for what stands beside the axes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight" if whole else None)
    replace_file(path, buffer.getvalue())
