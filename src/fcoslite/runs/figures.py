"""Whether a metric is a figure: -1 is COCO's sign that there was nothing to measure, null that it was not finite."""

from typing import TypeGuard

_NOTHING_TO_MEASURE = -1


def is_figure(value: object) -> TypeGuard[float]:
    """Whether a metric is a number that may be compared, drawn or averaged."""
    return isinstance(value, (int, float)) and value != _NOTHING_TO_MEASURE


def figure_text(value: float, digits: int = 4) -> str:
    """A metric for people: `none` where there is nothing to measure."""
    return f"{value:.{digits}f}" if is_figure(value) else "none"
