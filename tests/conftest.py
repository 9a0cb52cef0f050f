"""Fixtures that many tests share."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.disks import SmallDisk, mounted

# a busy machine is no failure
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("mutations", settings.get_profile("patient"), max_examples=10_000)  # of `nox -s mutations`
settings.load_profile("patient")


@pytest.fixture(scope="session")
def demo_data() -> Path:
    """The embedded photographs: images/ and annotations.json."""
    from fcoslite.data.embedded import embedded_data

    return embedded_data()


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Hear Ctrl-C, here and in what is started from here: a run in the background inherits that it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of two megabytes; the test is skipped where none can be mounted."""
    with mounted(tmp_path / "small") as disk:
        yield disk


@pytest.fixture(autouse=True)
def heard_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `caplog` hear our logger, which a command that ran before may have cut off from the root."""
    monkeypatch.setattr(logging.getLogger("fcoslite"), "propagate", True)


@pytest.fixture(autouse=True)
def no_graph_stays() -> Iterator[None]:
    """Let traced models go: TensorFlow keeps every custom gradient (swish has one) for ever, and its graph with it."""
    yield
    registry = sys.modules.get("tensorflow.python.framework.ops")
    if registry is not None:
        gradients = registry.gradient_registry._registry
        for name in [name for name in gradients if name.startswith("CustomGradient-")]:
            del gradients[name]


@pytest.fixture(autouse=True, scope="session")
def quick_graphs() -> None:
    """Leave TensorFlow's graph optimizers out: they take longer than the few steps that a test runs."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
