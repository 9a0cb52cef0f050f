"""The order of the fault suite."""

import pytest

# Each of two workers begins with two tests: a training and a data command. What takes long comes early, so that both
# come to their ends together.
FIRST = (
    "test_many_kills_of_training[train]",
    "test_many_kills[extract]",
    "test_many_kills_of_training[finetune]",
    "test_many_kills[build-records]",
    "test_many_kills_of_evaluation",
    "test_signals",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    items.sort(key=lambda item: next((place for place, name in enumerate(FIRST) if item.name.startswith(name)), 99))
