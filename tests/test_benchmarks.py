"""What benchmarks measure ours against does the same; and their table says what was measured."""

import json
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import growth, plain_loop, scale
from benchmarks.random_batches import SIZE, random_boxes
from benchmarks.scale import Costs, Encoded, Site, building, gradient_bytes, starting, traffic, training
from benchmarks.table import Must, Race, Row, markdown, race, read, save
from fcoslite.config.settings import LossSettings, ModelSettings
from fcoslite.data.records.manifest import read_manifest
from fcoslite.data.records.verify import verify_records
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


# --- what data sets cost

ENCODED = Encoded(encode=10e-3, decode=2e-3, size=100e3)
COSTS = Costs(
    photograph=150e3,
    png=ENCODED,
    jpeg=ENCODED,
    step=0.1,
    parameters=1_000_000,
    checkpoint=0.3,
    checksum=1e-9,
    plan=0,
    plan_bytes=3000,
    merge=0,
    open=0,
    first_batch=0,
    walk=0,
)
WIDE = Site(cores=2, network=1e12, storage=1e15)


def test_twice_the_workers_build_in_half_the_time_until_something_else_binds() -> None:
    one, two = (building(1_000_000, workers, COSTS, WIDE) for workers in (1, 2))
    assert one.seconds == pytest.approx(5000) and two.seconds == pytest.approx(2500)  # 10 ms each on 2 and 4 cores
    assert one.bottleneck == two.bottleneck == "encoding"
    narrow = replace(WIDE, network=25e6)  # 250 kB an image: 10 ms
    assert building(1_000_000, 2, COSTS, narrow).seconds == pytest.approx(5000)
    assert building(1_000_000, 2, COSTS, narrow).bottleneck == "network"
    for workers in (64, 512):  # 250 GB at 1 GB/s, whatever the number
        shared = building(1_000_000, workers, COSTS, replace(WIDE, storage=1e9))
        assert (shared.bottleneck, shared.seconds) == ("storage", pytest.approx(250))


def test_what_one_process_does_alone_does_not_shrink() -> None:
    costs = replace(COSTS, plan=40e-6, merge=2e-6, open=1e-6, first_batch=2e-6)
    few, many = (building(10**8, workers, costs, WIDE) for workers in (512, 10**6))
    assert few.seconds - few.parts["encoding"] == many.seconds - many.parts["encoding"] == pytest.approx(4200)
    assert many.bottleneck == "planning"
    assert starting(10**8, 10**6, costs, WIDE).seconds == pytest.approx(300, rel=0.01)
    assert starting(10**8, 10**6, costs, WIDE).bottleneck == "opening"
    assert starting(10**8, 1, costs, WIDE).parts["checksums"] == pytest.approx(5000)  # 10 TB at 2 GB/s


def test_gradients_go_around_a_ring() -> None:
    assert [gradient_bytes(workers, 1_000_000) for workers in (1, 2, 8)] == [0, 4e6, 7e6]
    read, sent = traffic(1600, 2, COSTS)
    assert (read, sent) == (160e6, 50 * 2 * 4e6)  # 50 updates of 32 images
    assert traffic(1600, 1, COSTS) == (160e6, 0)


def test_a_pass_of_training_is_bound_by_what_takes_longest() -> None:
    alone = training(1600, 1, COSTS, WIDE)
    assert alone.parts["steps"] == pytest.approx(80) and alone.parts["decoding"] == pytest.approx(1.6)
    assert alone.parts["checkpoints"] == pytest.approx(80 / 600 * 0.3)
    assert alone.seconds == pytest.approx(81.6 + 0.04) and alone.bottleneck == "steps"
    slow = training(1600, 2, COSTS, replace(WIDE, network=1e6))
    assert slow.parts["gradients"] == pytest.approx(50 * 4) and slow.bottleneck == "gradients"
    assert training(1600, 2, COSTS, replace(WIDE, storage=1e6)).bottleneck == "storage"
    long = training(10**6, 512, replace(COSTS, walk=1e-3), WIDE)
    assert long.bottleneck == "order" and long.parts["order"] == pytest.approx(500)


def test_of_what_goes_on_beside_the_rest_only_the_longest_counts() -> None:
    found = scale.Estimate({"a": 1, "b": 4, "c": 3, "d": 2}, (["b"], ["c", "d"]))
    assert (found.seconds, found.bottleneck) == (6, "c")  # a, then c and d while b is done
    assert scale.Estimate({"a": 1, "b": 6, "c": 3, "d": 2}, (["b"], ["c", "d"])).seconds == 7


def test_a_gpu_steps_while_cores_decode() -> None:
    costs = replace(COSTS, step=1e-3, on_gpu=True)
    decoding = training(10_000, 1, costs, WIDE)  # 2 ms of one core, 1 ms of two
    assert decoding.seconds == pytest.approx(10.005, abs=1e-3)
    assert training(10_000, 1, replace(costs, step=1e-4), WIDE).bottleneck == "decoding"


def test_the_tables_say_what_is_measured_and_what_computed() -> None:
    text = scale.told(COSTS, replace(COSTS, on_gpu=True), Site(), Site(cores=16))
    titles = [line for line in text.splitlines() if line.endswith(":")]
    assert titles[0] == "Measured:" and all(title.startswith("Computed: ") for title in titles[1:])
    assert "workers of 16 cores and 10 Gbit/s each, 1 GB/s of storage shared by all" in text
    assert "| 10^9 photographs | 1,000,000,000 | 150 TB | 100 TB |" in text
    assert "| COCO train2017 | 1.7 h, steps |" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40e-6, "40 µs"), (0.0034, "3.4 ms"), (59, "59 s"), (100, "1.7 min"), (9_000, "2.5 h"), (10**9, "32 years")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert scale.duration(seconds) == text


def test_the_page_shows_what_is_computed() -> None:
    """Every row of its tables, of the costs that were measured for it."""
    root = Path(__file__).parents[1]
    costs = map(scale.read_costs, json.loads((root / "benchmarks" / "scale-costs.json").read_text("utf-8")))
    computed = scale.told(*costs, Site(), Site(cores=16)).splitlines()
    _, section = (root / "docs" / "scale.md").read_text("utf-8").split("## What it costs\n")
    rows = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("|")]
    assert len(rows) > 40 and set(rows) <= set(computed)


def test_costs_can_be_kept() -> None:
    assert scale.read_costs(json.loads(json.dumps(asdict(COSTS)))) == COSTS


def test_made_records_are_like_built_ones(tmp_path: Path) -> None:
    folder = growth.records_folder(tmp_path / "records", 600)
    assert [shard.count for shard in read_manifest(folder).shards] == [256, 256, 88]
    assert not verify_records(folder, deep=True).faults
