import pytest

from fcoslite.runs.figures import figure_text, is_figure


@pytest.mark.parametrize("value", [0, 0.0, 1, 0.25, 1e-9])
def test_a_figure(value: float) -> None:
    assert is_figure(value) and figure_text(value) == f"{value:.4f}"


@pytest.mark.parametrize("value", [-1, -1.0, None])
def test_no_figure(value: float) -> None:
    assert not is_figure(value) and figure_text(value) == "none"
