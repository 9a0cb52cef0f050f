"""keep.json of a run: how much of the weights from before was averaged in, and what that is worth, and where.

share          of the weights from before
chosen         by the figures, or given
most_lost      AP that a chosen share may cost on the photographs
sets           by name: images, and all figures of the weights before, tuned, kept
tried          AP by share
"""

import json
from typing import Any

from fcoslite.runs.run import Run

HELD_OUT, PHOTOGRAPHS = "held_out", "photographs"
_WEIGHTS = ("before", "tuned", "kept")
TITLES = {HELD_OUT: "held-out images", PHOTOGRAPHS: "photographs of the package"}


def read_kept(run: Run) -> dict[str, Any] | None:
    """The document; None where there is none that is whole."""
    try:
        document = json.loads(run.keep_file.read_text("utf-8"))
        whole = isinstance(document["share"], float) and all(
            isinstance(part[one]["ap"], float) for part in document["sets"].values() for one in _WEIGHTS
        )
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return document if whole else None
