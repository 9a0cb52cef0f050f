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

# there is a worker for each core; TensorFlow, here and in what is started from here, wants all cores for each
for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(name, "1")
# optimizing takes longer than the few steps that a test runs
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

# a busy machine is no failure
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("mutations", settings.get_profile("patient"), max_examples=10_000)  # of `nox -s mutations`
settings.load_profile("patient")


@pytest.fixture(scope="session")
def demo_data() -> Path:
    """The embedded photographs: images/ and annotations.json."""
    from fcoslite.data.embedded import embedded_data

    return embedded_data()


@pytest.fixture(scope="session")
def slim_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a `lite0` of one level, which is exported in a quarter of the time."""
    from fcoslite.config.settings import ModelSettings
    from fcoslite.models.detector import build_detector
    from fcoslite.models.weights import save_weights

    settings = ModelSettings(preset="lite0", strides=(8,), image_size=96, classes=("person",), head_depth=0)
    detector = build_detector(settings, seed=1)
    for weight in detector.network.weights:
        if weight.path.startswith("head_") and weight.path.endswith("/kernel"):
            weight.assign(0.05 * weight)  # else many scores are 1, and boxes thousands of pixels large
        elif weight.path == "head_class_logits/bias":
            weight.assign(0 * weight)
    path = tmp_path_factory.mktemp("weights") / "slim.npz"
    save_weights(detector, path)
    return path


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
