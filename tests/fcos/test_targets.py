"""The vectorised assignment against plain loops written from the formulas, not from the code."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from keras import ops

from fcoslite.fcos.locations import locations_of
from fcoslite.fcos.targets import assign, centerness
from fcoslite.models.presets import PRESETS

LITE, R50, LITE0 = PRESETS["lite"], PRESETS["r50"], PRESETS["lite0"]
ALIGNED = replace(LITE0, assignment="task_aligned")
RULES = [
    LITE,
    replace(LITE, assignment="ranges", level_limits=(32.0, 64.0, 128.0)),
    replace(R50, strides=(8, 16, 32, 64), level_limits=(64.0, 128.0, 256.0)),
    LITE0,
    replace(LITE0, strides=(4, 8, 16, 32)),
    ALIGNED,
]


@dataclass
class Place:
    level: int
    stride: int
    row: int
    column: int

    @property
    def x(self):
        return self.column * self.stride + self.stride / 2

    @property
    def y(self):
        return self.row * self.stride + self.stride / 2

    def distances(self, box):
        x1, y1, x2, y2 = box
        return self.x - x1, self.y - y1, x2 - self.x, y2 - self.y

    def within(self, box):
        return min(self.distances(box)) > 0


def places_of(strides, size):
    return [
        Place(level, stride, row, column)
        for level, stride in enumerate(strides)
        for row in range(size // stride)
        for column in range(size // stride)
    ]


def overlap_of(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    intersection = max(width, 0) * max(height, 0)
    return intersection / (area_of(a) + area_of(b) - intersection + 1e-6)


def area_of(box):
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


# Each rule: the places that may answer for a box, by index, and what it costs each: the cheapest box wins a place.


def by_area(box, class_id, places, shape, outputs):
    area, centre_x, centre_y = area_of(box), (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    level = sum(area > limit for limit in shape.level_limits)
    return {
        index: area
        for index, place in enumerate(places)
        if place.within(box)
        and place.level == level
        and abs(place.column - centre_x / place.stride) <= max(1.0, (box[2] - box[0]) / place.stride)
        and abs(place.row - centre_y / place.stride) <= max(1.0, (box[3] - box[1]) / place.stride)
    }


def by_ranges(box, class_id, places, shape, outputs):
    limits = [0.0, *shape.level_limits, math.inf]
    centre_x, centre_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return {
        index: area_of(box)
        for index, place in enumerate(places)
        if place.within(box)
        and limits[place.level] < max(place.distances(box)) <= limits[place.level + 1]
        and abs(place.x - centre_x) < shape.centre_radius * place.stride
        and abs(place.y - centre_y) < shape.centre_radius * place.stride
    }


def by_atss(box, class_id, places, shape, outputs):
    centre_x, centre_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    overlaps = {}
    for level in range(len(shape.strides)):
        far = {
            index: (place.x - centre_x) ** 2 + (place.y - centre_y) ** 2
            for index, place in enumerate(places)
            if place.level == level
        }
        ninth = sorted(far.values())[:9][-1]
        for index, distance in far.items():
            if distance <= ninth:  # all that are as near as the ninth
                place, half = places[index], 4 * shape.strides[level]
                anchor = place.x - half, place.y - half, place.x + half, place.y + half
                overlaps[index] = overlap_of(anchor, box)
    values = list(overlaps.values())
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1))
    return {
        index: 1 - value for index, value in overlaps.items() if value >= mean + deviation and places[index].within(box)
    }


def by_alignment(box, class_id, places, shape, outputs):
    scores, overlaps = {}, {}
    for index, place in enumerate(places):
        if place.within(box):
            left, top, right, bottom = outputs["distances"][index].astype(float) * place.stride
            predicted = place.x - left, place.y - top, place.x + right, place.y + bottom
            logit = float(outputs["class_logits"][index, int(class_id) - 1])
            overlaps[index] = overlap_of(predicted, box)
            scores[index] = overlaps[index] ** 6 / (1 + math.exp(-logit))
    if not scores:
        return {}
    thirteenth = sorted(scores.values(), reverse=True)[:13][-1]
    return {index: 1 - overlaps[index] for index, score in scores.items() if score >= thirteenth and score > 0}


BY_NAME = {"area": by_area, "ranges": by_ranges, "atss": by_atss, "task_aligned": by_alignment}


def plain_assign(boxes, shape, size, classes, outputs):
    """One image: boxes [M, 6]."""
    places = places_of(shape.strides, size)
    count = len(places)
    owner, price = [None] * count, [math.inf] * count
    in_crowd = [False] * count
    for class_id, *box, only_ignored in boxes.tolist():
        if class_id < 1:
            continue
        if only_ignored:
            in_crowd = [before or place.within(box) for before, place in zip(in_crowd, places, strict=True)]
            continue
        for index, cost in BY_NAME[shape.assignment](box, class_id, places, shape, outputs).items():
            if cost < price[index]:
                owner[index], price[index] = (class_id, box), cost
    one_hot, distances, centre = np.zeros((count, classes)), np.zeros((count, 4)), np.zeros(count)
    for index, place in enumerate(places):
        if owner[index] is not None:
            class_id, box = owner[index]
            one_hot[index, int(class_id) - 1] = 1
            left, top, right, bottom = distances[index] = np.array(place.distances(box)) / place.stride
            ratio = min(left, right) / (max(left, right) + 1e-6) * min(top, bottom) / (max(top, bottom) + 1e-6)
            centre[index] = math.sqrt(ratio)
    positive = np.array([one is not None for one in owner])
    return {
        "classes": one_hot,
        "distances": distances,
        "centerness": centre[:, None],
        "positive": positive,
        "class_weight": ~(np.array(in_crowd) & ~positive),
    }


def outputs_of(shape, size, classes, batch, seed=0):
    """What a network that knows nothing might say."""
    rng = np.random.default_rng(seed)
    locations = sum((size // stride) ** 2 for stride in shape.strides)
    return {
        "class_logits": rng.normal(size=(batch, locations, classes)).astype(np.float32),
        "distances": np.exp(rng.normal(0.5, 0.7, (batch, locations, 4))).astype(np.float32),
    }


def assigned(boxes, architecture, size, classes, outputs=None):
    outputs = outputs or outputs_of(architecture, size, classes, len(boxes))
    return assign(boxes, outputs, architecture, locations_of(size, architecture.strides))


def check(boxes, architecture, size, classes, outputs=None):
    """Compare all targets; returns the indices of positive locations, an array an image."""
    outputs = outputs or outputs_of(architecture, size, classes, len(boxes))
    targets = assigned(boxes, architecture, size, classes, outputs)
    for index in range(len(boxes)):
        said = {key: value[index] for key, value in outputs.items()}
        expected = plain_assign(boxes[index], architecture, size, classes, said)
        for name, value in expected.items():
            got = ops.convert_to_numpy(getattr(targets, name))[index]
            np.testing.assert_allclose(got, value, atol=1e-4, err_msg=name)
    return [np.flatnonzero(row) for row in ops.convert_to_numpy(targets.positive)]


def random_boxes(rng, batch, count, size, classes):
    """Some of them are to be ignored, and some are padding."""
    boxes = np.zeros((batch, count, 6), np.float32)
    boxes[..., 0] = rng.integers(1, classes + 1, (batch, count))
    sides = np.exp(rng.uniform(np.log(1), np.log(size), (batch, count, 2)))
    low = rng.uniform(-0.1 * size, 1.0, (batch, count, 2)) + rng.uniform(0, 1, (batch, count, 2)) * (size - sides)
    boxes[..., 1:3], boxes[..., 3:5] = low, low + sides
    boxes[..., 5] = rng.random((batch, count)) < 0.15
    boxes[..., 0] *= rng.random((batch, count)) < 0.9
    return boxes


def plain_boxes(*boxes):
    """One image of the boxes, none of them to be ignored."""
    return np.array([[[*box, 0] for box in boxes]], np.float32)


@pytest.mark.parametrize("architecture", RULES, ids=lambda shape: f"{shape.assignment}{shape.strides[0]}")
@pytest.mark.parametrize("seed", range(3))
def test_random_boxes(architecture, seed):
    rng = np.random.default_rng(seed)
    positive = check(random_boxes(rng, 2, 9, 128, 3), architecture, 128, 3)
    assert min(map(len, positive)) > 0


@pytest.mark.parametrize("architecture", [*RULES[:2], LITE0, ALIGNED], ids=lambda shape: shape.assignment)
def test_more_boxes_than_are_compared_at_a_time(architecture):
    rng = np.random.default_rng(7)
    assert len(check(random_boxes(rng, 1, 100, 128, 1), architecture, 128, 1)[0]) > 0


@pytest.mark.parametrize("architecture", RULES, ids=lambda shape: f"{shape.assignment}{shape.strides[0]}")
def test_no_box_at_all(architecture):
    boxes = np.zeros((2, 1, 6), np.float32)
    assert [len(row) for row in check(boxes, architecture, 64, 1)] == [0, 0]


@pytest.mark.parametrize("architecture", [LITE, LITE0, ALIGNED], ids=lambda shape: shape.assignment)
def test_padding_and_boxes_cut_away_answer_for_nothing(architecture):
    """Augmentation makes a box that is cut away class 0, wherever it lies."""
    boxes = plain_boxes([1, 8, 8, 40, 50], [0, 30, 20, 60, 60], [1, 20, 4, 60, 60])
    alone = check(boxes[:, :1], architecture, 64, 1)
    boxes[0, 2, 0] = 0
    assert check(boxes, architecture, 64, 1)[0].tolist() == alone[0].tolist()


def test_areas_on_the_limits_belong_to_the_finer_level():
    # 64 x 64 is exactly 4,096: P2. One pixel more is P3. 128 x 128 is P3, 256 x 256 P4.
    sides = [64, 65, 128, 129, 256, 257]
    boxes = np.concatenate([plain_boxes([1, 4, 4, 4 + side, 4 + side]) for side in sides])
    targets = assigned(boxes, LITE, 512, 1)
    positive = ops.convert_to_numpy(targets.positive)
    starts = np.cumsum([0, 128**2, 64**2, 32**2, 16**2])
    levels = [[positive[row, a:b].any() for a, b in pairwise(starts)] for row in range(6)]
    assert [row.index(True) for row in levels] == [0, 1, 1, 2, 2, 3]
    assert all(sum(row) == 1 for row in levels)
    check(boxes[:2], LITE, 128, 1)


def test_the_first_of_two_equal_areas_wins():
    boxes = plain_boxes([1, 10, 10, 40, 30], [2, 12, 8, 32, 38])  # both 600
    check(boxes, LITE, 64, 2)
    check(boxes[:, ::-1].copy(), LITE, 64, 2)


@pytest.mark.parametrize("architecture", [LITE, LITE0, ALIGNED], ids=lambda shape: shape.assignment)
def test_the_first_of_two_equal_boxes_wins_even_across_blocks(architecture):
    outputs = outputs_of(architecture, 64, 2, 1)
    outputs["class_logits"][..., 1] = outputs["class_logits"][..., 0]  # both classes score alike
    # as large and elsewhere, so that between the twins stand more than are looked at together
    others = [[1, 34, 40, 64, 64]] * 40
    boxes = plain_boxes([1, 10, 10, 40, 34], *others, [2, 10, 10, 40, 34])
    targets = assigned(boxes, architecture, 64, 2, outputs)
    classes = ops.convert_to_numpy(ops.sum(targets.classes, axis=(0, 1)))
    assert classes[0] > 0
    assert classes[1] == 0


def test_boxes_at_the_border_and_smaller_than_a_cell():
    boxes = plain_boxes(
        [1, 0, 0, 30, 30],
        [1, 34, 34, 64, 64],
        [1, -20, 40, 10, 70],
        [1, 40, 8, 40.5, 8.5],
        [1, 41, 1, 43, 3],
    )
    for architecture in (LITE, LITE0, ALIGNED):
        assert len(check(boxes, architecture, 64, 1)[0]) > 0


def test_a_box_whose_side_passes_through_a_location_does_not_contain_it():
    # locations at 2, 6, 10: only 6 is strictly inside
    assert len(check(plain_boxes([1, 2, 2, 10, 10]), LITE, 64, 1)[0]) == 1


@pytest.mark.parametrize("architecture", [LITE, LITE0, ALIGNED], ids=lambda shape: shape.assignment)
def test_a_crowd_is_neither_person_nor_background(architecture):
    boxes = plain_boxes([1, 0, 0, 64, 64], [1, 20, 20, 40, 40])
    boxes[0, 0, 5] = 1
    outputs = outputs_of(architecture, 64, 1, 1)
    positive = check(boxes, architecture, 64, 1, outputs)[0]
    weight = ops.convert_to_numpy(assigned(boxes, architecture, 64, 1, outputs).class_weight)[0]
    assert weight[positive].min() == 1  # the person inside the crowd still counts
    assert np.delete(weight, positive).max() == 0  # all else is inside the crowd


def test_atss_by_hand():
    """One level, a box that one anchor fits: its neighbours' anchors overlap by 28 / 36, the diagonal ones by less."""
    shape = replace(LITE0, strides=(8,))
    # the anchor of column 3, row 3 is 28 +- 32: 9 candidates, of which mean + deviation keeps but the fitting one
    assert check(plain_boxes([1, -4, -4, 60, 60]), shape, 64, 1)[0].tolist() == [3 * 8 + 3]
    neighbour, diagonal = 56 / 72, 56 * 56 / (2 * 64 * 64 - 56 * 56)
    overlaps = np.array([1, *[neighbour] * 4, *[diagonal] * 4])
    assert neighbour < overlaps.mean() + overlaps.std(ddof=1) < 1
    # the deviation of a sample: divided by 9 instead of 8 it would let four locations through
    assert check(plain_boxes([1, 4, 9, 43, 65]), shape, 64, 1)[0].tolist() == []


@pytest.mark.parametrize("architecture", [LITE0, ALIGNED], ids=lambda shape: shape.assignment)
def test_a_mirrored_picture_has_mirrored_targets(architecture):
    """Whole pixels, and centres on the grid: full of ties that a sort would break to one side."""
    size, rng = 64, np.random.default_rng(3)
    low = rng.integers(0, 12, (1, 5, 2)) * 4
    boxes = np.concatenate(
        [np.ones((1, 5, 1)), low, low + rng.integers(1, 6, (1, 5, 2)) * 4, np.zeros((1, 5, 1))],
        axis=-1,
        dtype=np.float32,
    )
    mirrored = boxes.copy()
    mirrored[..., [1, 3]] = size - boxes[..., [3, 1]]
    outputs = outputs_of(architecture, size, 1, 1)
    outputs["distances"][:] = 2.0  # every location of a level says the same
    outputs["class_logits"][:] = 0.0
    here, there = (
        ops.convert_to_numpy(assigned(each, architecture, size, 1, outputs).positive)[0] for each in (boxes, mirrored)
    )
    assert here.sum() > 0
    levels = locations_of(size, architecture.strides).levels
    for stride, level in zip(architecture.strides, levels, strict=True):
        side = size // stride
        np.testing.assert_array_equal(here[level].reshape(side, side)[:, ::-1], there[level].reshape(side, side))


def test_the_thirteen_best_aligned_locations_and_all_that_tie_with_the_last():
    size, box = 64, [1, 4, 4, 60, 60]
    places = places_of(ALIGNED.strides, size)
    inside = [index for index, place in enumerate(places) if place.within(box[1:])]
    right = np.array([np.array(place.distances(box[1:])) / place.stride for place in places], np.float32)[None]
    outputs = {"class_logits": np.zeros((1, len(places), 1), np.float32), "distances": np.abs(right)}
    every = check(plain_boxes(box), ALIGNED, size, 1, outputs)[0]
    assert every.tolist() == inside  # each predicts the box exactly
    surer = np.random.default_rng(0).choice(inside, 13, replace=False)
    outputs["class_logits"][0, surer] = 1.0
    assert check(plain_boxes(box), ALIGNED, size, 1, outputs)[0].tolist() == sorted(surer)
    outputs["class_logits"][0, surer[0]] = -1.0  # twelve, and all the others share the thirteenth place
    assert len(check(plain_boxes(box), ALIGNED, size, 1, outputs)[0]) == len(inside) - 1


def test_a_contested_location_goes_to_the_box_it_predicts():
    """Not to the smaller one, as elsewhere."""
    size, large, small = 64, [1, 4, 4, 60, 60], [2, 20, 20, 44, 44]
    places = places_of(ALIGNED.strides, size)
    right = np.array([np.array(place.distances(large[1:])) / place.stride for place in places], np.float32)[None]
    outputs = {"class_logits": np.zeros((1, len(places), 2), np.float32), "distances": np.abs(right)}
    targets = assigned(plain_boxes(small, large), ALIGNED, size, 2, outputs)
    classes = ops.convert_to_numpy(ops.sum(targets.classes, axis=(0, 1)))
    assert classes[0] > 13
    assert classes[1] == 0
    check(plain_boxes(small, large), ALIGNED, size, 2, outputs)


def test_centerness_by_hand():
    values = ops.convert_to_numpy(centerness(np.array([[2, 3, 2, 3], [1, 2, 4, 2], [0, 1, 1, 1]], np.float32)))
    np.testing.assert_allclose(values[:, 0], [1, 0.5, 0], atol=1e-5)
