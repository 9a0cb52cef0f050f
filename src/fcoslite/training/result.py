"""What a training comes to."""

from dataclasses import dataclass
from typing import Any

from fcoslite.runs.run import Run


@dataclass(frozen=True)
class TrainingResult:
    """What a run has done.

    Attributes:
        run: Its directory.
        epochs: Finished, in all.
        stopped_early: By the validation loss.
        metrics: The last line of metrics.jsonl.
        best: The line of the best weights.
        kept: The document of keep.json; None where no weights from before were averaged in.
    """

    run: Run
    epochs: int
    stopped_early: bool
    metrics: dict[str, Any]
    best: dict[str, Any]
    kept: dict[str, Any] | None = None
