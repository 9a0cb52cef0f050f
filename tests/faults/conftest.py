"""The order of the fault suite."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, one for each of two workers, so that both come to their ends together."""
    longest = ("test_many_kills_of_training", "test_many_kills")
    items.sort(key=lambda item: [not item.name.startswith(start) for start in longest])
