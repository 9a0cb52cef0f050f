import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from fcoslite.config.settings import ModelSettings
from fcoslite.models.backbones.resnext import resnext50
from fcoslite.models.detector import build_detector, count_macs
from fcoslite.models.weights import load_backbone, save_weights

_SMALL = {"preset": "r50", "backbone": "resnext50", "image_size": 128, "classes": ("person",), "head_depth": 1}


@pytest.fixture(scope="module")
def backbone():
    """At the size of its publication."""
    images = keras.Input((224, 224, 3))
    features = resnext50(images, "frozen")
    return keras.Model(images, {str(stride): value for stride, value in features.items()})


def test_features(backbone):
    shapes = {int(stride): value.shape[1:] for stride, value in backbone.output.items()}
    assert shapes == {8: (28, 28, 512), 16: (14, 14, 1024), 32: (7, 7, 2048)}


def test_it_is_the_published_network(backbone):
    # 25,028,904 parameters (torchvision's resnext50_32x4d), of which the classifier is a layer to 1,000 classes
    ours = sum(math.prod(weight.shape) for weight in backbone.trainable_weights)
    assert ours + 2048 * 1000 + 1000 == 25_028_904
    # 4.23 billion multiply-accumulates at 224 pixels, as torchvision says
    assert round((count_macs(backbone) + 2048 * 1000) / 1e9, 2) == 4.23


def test_a_group_sees_its_own_channels_alone():
    images = keras.Input((32, 32, 3))
    network = keras.Model(images, resnext50(images, "frozen")[8])
    grouped = network.get_layer("backbone_c2_block0_grouped")
    x = np.random.default_rng(0).random((1, 8, 8, 128), np.float32)
    before = np.asarray(grouped(x))
    x[..., 4:8] += 1.0  # the second of 32 groups of 4
    changed = np.abs(np.asarray(grouped(x)) - before).max(axis=(0, 1, 2)) > 0
    assert changed[4:8].any()
    assert not changed[:4].any() and not changed[8:].any()


def test_it_starts_from_the_backbone_of_a_file(tmp_path):
    settings = ModelSettings.model_validate(_SMALL)
    first, second = build_detector(settings, seed=0), build_detector(settings, seed=1)
    save_weights(first, tmp_path / "first.npz")
    load_backbone(second, tmp_path / "first.npz")
    weights = {weight.path: np.asarray(weight) for weight in first.network.weights}
    heads_differ = []
    for weight in second.network.weights:
        if weight.path.startswith(("neck_", "head_")):
            heads_differ.append(not np.array_equal(weights[weight.path], np.asarray(weight)))
        else:
            np.testing.assert_array_equal(weights[weight.path], np.asarray(weight))
    assert any(heads_differ)


_TRAIN = """
import numpy as np
from fcoslite.machine.backend import load_backend
load_backend()
from fcoslite.config.load import load_settings
from fcoslite.models.detector import build_detector
from fcoslite.training.model import build_training_model
sets = ["model.preset=r50", "model.backbone=resnext50", "model.classes=[person]", "model.image_size=128"]
sets += ["model.head_depth=1", "compute.batch_size=2", "compute.accumulation=1", "compute.precision=float32"]
settings = load_settings("mission", sets)
detector = build_detector(settings.model, seed=0)
model = build_training_model(detector, settings, settings.train, steps=10)
name = "backbone_c4_block1_grouped/kernel"
kernel = next(weight for weight in detector.network.weights if weight.path == name)
before = np.array(kernel)
images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
boxes = np.tile(np.array([[[1, 20, 20, 90, 100]]], np.float32), (2, 1, 1))
batch = {"images": images, "boxes": boxes, "crowd": np.zeros((2, 1), bool)}
loss = model.fit(((batch,) for _ in range(1)), steps_per_epoch=1, verbose=0, shuffle=False).history["loss"][0]
assert np.isfinite(loss) and np.abs(np.array(kernel) - before).max() > 0
print(f"{float(loss):.4f}")
"""


def test_it_trains_alike_on_both_backends():
    losses = []
    for backend in ("tensorflow", "jax"):
        environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1"}
        result = subprocess.run(
            [sys.executable, "-c", _TRAIN], env=environment, capture_output=True, text=True, timeout=600
        )
        assert result.returncode == 0, result.stderr
        losses.append(float(result.stdout.split()[-1]))
    # augmentation draws other random numbers
    assert losses[0] == pytest.approx(losses[1], rel=0.2)
