"""Figures of boxes and images, against plain loops over the photographs' annotations; and their memory."""

import json
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fcoslite.data.dataset import AnnotationTable, Category, ImageRecord
from fcoslite.data.formats.open import open_data
from fcoslite.data.inspect.figures import QUANTILES, compute_figures
from fcoslite.data.inspect.odd_boxes import find_odd_boxes


@pytest.fixture(scope="module")
def document(demo_data):
    return json.loads((demo_data / "annotations.json").read_text("utf-8"))


def test_counts_are_those_of_the_file(demo_data, document):
    figures = compute_figures(open_data(demo_data))
    boxes = document["annotations"]
    assert (figures.images, figures.boxes) == (32, len(boxes))
    assert figures.crowds == sum(box["iscrowd"] for box in boxes) > 0
    assert figures.images_without_box == 32 - len({box["image_id"] for box in boxes})
    assert [one.name for one in figures.classes] == [category["name"] for category in document["categories"]]
    for category, one in zip(document["categories"], figures.classes, strict=True):
        ours = [box for box in boxes if box["category_id"] == category["id"]]
        single = [box["area"] for box in ours if not box["iscrowd"]]
        small, large = sum(area < 32**2 for area in single), sum(area >= 96**2 for area in single)
        assert (one.boxes, one.crowds) == (len(single), len(ours) - len(single))
        assert (one.small, one.medium, one.large) == (small, len(single) - small - large, large)
        assert one.images == len({box["image_id"] for box in ours})
    assert sum(figures.by_size.values()) == figures.boxes - figures.crowds
    sizes = Counter((image["width"], image["height"]) for image in document["images"])
    assert figures.different_sizes == len(sizes)
    assert figures.common_sizes[0] == ((640, 480, sizes[640, 480]))


def test_spreads_are_those_of_the_file(demo_data, document):
    figures = compute_figures(open_data(demo_data))
    image_of = {image["id"]: image for image in document["images"]}
    single = [box for box in document["annotations"] if not box["iscrowd"]]
    per_image = Counter(box["image_id"] for box in document["annotations"])
    sides = [(box["bbox"][2] * box["bbox"][3]) ** 0.5 for box in single]
    image_sides = [(image_of[box["image_id"]]["width"] * image_of[box["image_id"]]["height"]) ** 0.5 for box in single]
    expected = {
        "box_side": sides,
        "relative_side": [side / image_side for side, image_side in zip(sides, image_sides, strict=True)],
        "box_aspect": [box["bbox"][2] / box["bbox"][3] for box in single],
        "boxes_per_image": [per_image[image["id"]] for image in document["images"]],
        "image_side": [max(image["width"], image["height"]) for image in document["images"]],
        "image_aspect": [image["width"] / image["height"] for image in document["images"]],
    }
    assert set(figures.spreads) == set(expected)  # no score
    for name, values in expected.items():
        spread = figures.spreads[name]
        assert list(spread.quantiles.values()) == pytest.approx(np.quantile(values, list(QUANTILES.values())), rel=1e-4)
        assert sum(spread.counts) == len(values)
        assert len(spread.edges) == len(spread.counts) + 1
        inside = np.clip(values, spread.edges[0], spread.edges[-1])
        for low, high, count in zip(spread.edges[:-1], spread.edges[1:], spread.counts, strict=True):
            assert count == pytest.approx(np.sum((inside >= low) & (inside < high)), abs=1 + (high == spread.edges[-1]))


def made_table(boxes: int, images: int = 1000) -> AnnotationTable:
    rng = np.random.default_rng(0)
    near = rng.random((boxes, 2)) * (500, 400)
    sides = np.exp(rng.normal(3.5, 1, (boxes, 2))).clip(1, (640 - near[:, 0:1]).clip(max=80))
    return AnnotationTable(
        path=Path("made"),
        folder=Path("made"),
        categories=tuple(Category(number, f"class {number}") for number in range(1, 81)),
        images=tuple(ImageRecord(number, f"{number}.jpg", 480, 640) for number in range(images)),
        starts=np.linspace(0, boxes, images + 1).astype(np.int64),
        mentions_class=np.ones(images, bool),
        annotation_ids=np.arange(boxes),
        class_ids=rng.integers(1, 81, boxes).astype(np.int32),
        boxes_xywh=np.concatenate([near, sides], axis=1),
        areas=sides.prod(axis=1),
        iscrowd=rng.random(boxes) < 0.01,
        asks=np.zeros(boxes, bool),
        scores=rng.random(boxes),
        dropped_boxes=0,
        clipped_boxes=0,
    )


def test_millions_of_boxes_take_some_bytes_each():
    count = 2_000_000
    table = made_table(count)
    table.boxes_xywh[1] = table.boxes_xywh[0]
    table.class_ids[1] = table.class_ids[0]
    table.iscrowd[:2] = False
    tracemalloc.start()
    try:
        figures = compute_figures(table)
        odd = find_odd_boxes(table)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert figures.boxes == count
    assert {kind.name: kind.count for kind in odd}["repeated"] == 1
    assert peak < 60 * count, f"{peak / count:.0f} bytes a box"  # the table itself has 61


def test_a_data_set_without_a_box_has_figures_of_its_images(tmp_path, demo_data):
    figures = compute_figures(open_data(demo_data / "images", form="folder"))
    assert (figures.images, figures.boxes, figures.images_without_box) == (32, 0, 32)
    assert set(figures.spreads) == {"boxes_per_image", "image_side", "image_aspect"}
    assert figures.classes[0].images == 0
