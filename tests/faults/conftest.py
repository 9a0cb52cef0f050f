"""The order of the fault suite."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that two workers come to their ends together."""
    items.sort(key=lambda item: not item.name.startswith("test_many_kills"))
