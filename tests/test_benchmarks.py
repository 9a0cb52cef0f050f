"""What benchmarks measure ours against does the same; and their table says what was measured."""

import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import plain_loop
from benchmarks.random_batches import SIZE, random_boxes
from benchmarks.table import Must, Race, Row, markdown, race, read, save
from fcoslite.config.settings import LossSettings, ModelSettings
from fcoslite.fcos.locations import locations_of
from fcoslite.fcos.losses import compute_losses
from fcoslite.fcos.targets import assign
from fcoslite.inference.runtimes.keras import with_constant_weights
from fcoslite.models.detector import Detector, build_detector
from fcoslite.models.presets import PRESETS

LITE = PRESETS["lite"]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return build_detector(ModelSettings(preset="lite", image_size=64), seed=0)


def flat(levels: list) -> np.ndarray:
    """A tensor per level, [H · W, ...] -> [N, ...]."""
    return np.concatenate([np.asarray(level) for level in levels])


@pytest.mark.parametrize("count", [0, 1, 20])
def test_the_plain_loop_assigns_as_we_do(count: int) -> None:
    boxes = random_boxes(2, max(count, 1), seed=count)[:, :count]
    padded = np.zeros((2, 24, 6), np.float32)
    padded[:, :count, :5] = boxes
    locations = locations_of(SIZE, LITE.strides)
    ours = assign(padded, {"class_logits": np.zeros((2, len(locations), 1))}, LITE, locations)
    for number in range(2):
        plain = plain_loop.assign_image(boxes[number], SIZE, 1)
        np.testing.assert_array_equal(flat(plain.positive), np.asarray(ours.positive[number]) > 0)
        np.testing.assert_array_equal(flat(plain.classes), ours.classes[number])
        np.testing.assert_allclose(flat(plain.distances), ours.distances[number], atol=1e-4)
        np.testing.assert_allclose(flat(plain.centerness), ours.centerness[number], atol=1e-5)
        assert count == 0 or flat(plain.positive).any()


def test_the_plain_loop_has_our_losses() -> None:
    rng = np.random.default_rng(0)
    locations = locations_of(SIZE, LITE.strides)
    outputs = {
        "class_logits": rng.normal(-2, 1, (2, len(locations), 1)).astype(np.float32),
        "distances": rng.uniform(0.1, 8, (2, len(locations), 4)).astype(np.float32),
        "quality_logits": rng.normal(0, 1, (2, len(locations), 1)).astype(np.float32),
    }
    boxes = random_boxes(2, 10)
    flagged = np.pad(boxes, [(0, 0), (0, 0), (0, 1)])
    targets = assign(flagged, outputs, LITE, locations)
    ours = compute_losses(outputs, targets, locations, LossSettings(), "centerness")
    plain = plain_loop.losses(outputs, [plain_loop.assign_image(each, SIZE, 1) for each in boxes], SIZE)
    assert float(plain) == pytest.approx(float(ours.total), rel=1e-4)


def test_the_plain_network_has_our_outputs(detector: Detector) -> None:
    images = np.random.default_rng(0).uniform(size=(1, 64, 64, 3)).astype(np.float32)
    ours, plain = detector.network(images), plain_loop.plain_network(detector.network)(images)
    constant = with_constant_weights(detector.network, images.shape, "float32")(images)
    for name, value in ours.items():
        np.testing.assert_allclose(plain[name], value, atol=1e-4)
        np.testing.assert_allclose(constant[name], value, atol=1e-4)


def test_a_race_runs_everyone_in_every_round() -> None:
    order: list[str] = []

    def run(name: str) -> None:
        order.append(name)
        time.sleep(0.15)  # longer than a turn need be

    result = race({name: partial(run, name) for name in ("a", "b")}, 3)
    assert sorted(order) == ["a"] * 4 + ["b"] * 4  # and a round that does not count
    assert len(result.seconds["a"]) == len(result.seconds["b"]) == 3
    assert min(*result.seconds["a"], *result.seconds["b"]) >= 0.15


def test_figures_of_a_race() -> None:
    result = Race({"a": [1, 2, 3], "b": [2, 4, 9], "c": [1, 1, 1]})
    assert result.faster("a", "b") == 2
    assert result.rates("a", 10) == {"ours": 5}
    assert result.rates("a", 10, reference="b") == {"ours": 5, "reference": 2.5, "ratio": 2}
    assert result.rates("a", 10, limit="c") == {"ours": 5, "limit": 10, "fraction": 0.5}
    assert result.milliseconds("a", 100, reference="b") == {"ours": 20, "reference": 40, "ratio": 0.5}


def test_the_table_can_be_saved_and_read(tmp_path: Path) -> None:
    rows = [
        Row("forward", "a", "GFLOP/s", 100.0, 20.0, "plain", 5.0, 150.0, "a limit", 0.67, Must("fraction", "≥", 0.7)),
        Row("extract", "b", "s", 1.234, 2.0, "json.load", 0.617, must=Must("ratio", "≤", 1.5)),
        Row("assignment", "c", "images/s", 12345.6),
    ]
    save(rows, tmp_path, {"machine": "this"})
    assert list(read(tmp_path / "benchmarks.json")) == rows
    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert markdown(rows) in text and "- machine: this" in text
    assert "| 67% | fraction ≥ 70%: **no** |" in text
    assert "| extract: b | 1.23 s | 2 (json.load) | 0.62 |  |  | ratio ≤ 1.5: yes |" in text
    assert "| assignment: c | 12,346 images/s |  |  |  |  |  |" in text
