"""Fixtures of the data tests."""

import logging

import pytest


@pytest.fixture(autouse=True)
def heard_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `caplog` hear our logger, which a command that ran before may have cut off from the root."""
    monkeypatch.setattr(logging.getLogger("fcoslite"), "propagate", True)
