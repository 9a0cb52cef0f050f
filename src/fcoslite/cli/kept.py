"""The table of what fine-tuning has gained and lost, for `finetune` and `runs show`."""

from typing import TYPE_CHECKING, Any

from fcoslite.runs.figures import figure_text
from fcoslite.runs.kept import TITLES

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


def show_kept(terminal: "Terminal", kept: dict[str, Any], title: str = "") -> None:
    """Print AP and AP50 of the weights before, fine-tuned and kept, on the data and elsewhere."""
    share, sets = kept["share"], kept["sets"]
    rows = [
        [name, *(f"{figure_text(part[one]['ap'], 3)}   {figure_text(part[one]['ap50'], 3)}" for part in sets.values())]
        for name, one in (("before", "before"), ("fine-tuned", "tuned"), (f"kept, {share:.0%} before", "kept"))
    ]
    rows.append(["change", *(f"{part['kept']['ap'] - part['before']['ap']:+.3f}" for part in sets.values())])
    columns = ["AP, AP50", *(f"{part['images']} {TITLES[name]}" for name, part in sets.items())]
    terminal.table(columns, rows, title)
