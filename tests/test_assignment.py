"""The vectorised assignment against a plain loop written from the formulas, not from the code."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from keras import ops

from fcoslite.assignment import assign, centerness
from fcoslite.models.presets import PRESETS

LITE, R50 = PRESETS["lite"], PRESETS["r50"]


def plain_assign(boxes, crowd, mask, strides, size, classes, rule, limits, radius):
    """One image: boxes [M, 5]. Loops over levels, rows, columns and boxes."""
    rows = []
    for level, stride in enumerate(strides):
        for row in range(size // stride):
            for column in range(size // stride):
                x, y = column * stride + stride / 2, row * stride + stride / 2
                best, best_area, in_crowd = None, math.inf, False
                for box, is_crowd, real in zip(boxes, crowd, mask, strict=True):
                    class_id, x1, y1, x2, y2 = (float(value) for value in box)
                    if not real or class_id < 1:
                        continue
                    if not (x1 < x < x2 and y1 < y < y2):
                        continue
                    if is_crowd:
                        in_crowd = True
                        continue
                    area = (x2 - x1) * (y2 - y1)
                    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
                    left, top, right, bottom = x - x1, y - y1, x2 - x, y2 - y
                    if rule == "area":
                        box_level = 0
                        while box_level < len(limits) and area > limits[box_level]:
                            box_level += 1
                        if box_level != level:
                            continue
                        if abs(column - centre_x / stride) > max(1.0, (x2 - x1) / stride):
                            continue
                        if abs(row - centre_y / stride) > max(1.0, (y2 - y1) / stride):
                            continue
                    else:
                        low = 0.0 if level == 0 else limits[level - 1]
                        high = limits[level] if level < len(limits) else math.inf
                        if not low < max(left, top, right, bottom) <= high:
                            continue
                        if abs(x - centre_x) >= radius * stride or abs(y - centre_y) >= radius * stride:
                            continue
                    if area < best_area:
                        best, best_area = (class_id, left, top, right, bottom), area
                one_hot = [0.0] * classes
                if best is None:
                    rows.append((one_hot, [0.0] * 4, 0.0, 0.0, 0.0 if in_crowd else 1.0))
                    continue
                class_id, left, top, right, bottom = best
                one_hot[int(class_id) - 1] = 1.0
                distances = [value / stride for value in (left, top, right, bottom)]
                left, top, right, bottom = distances
                ratio = min(left, right) / (max(left, right) + 1e-6) * min(top, bottom) / (max(top, bottom) + 1e-6)
                rows.append((one_hot, distances, math.sqrt(ratio), 1.0, 1.0))
    columns = list(zip(*rows, strict=True))
    return [np.array(column, np.float64) for column in columns]


def check(boxes, crowd, mask, architecture, size, classes):
    targets = assign(boxes, crowd, mask, architecture, size, classes)
    for index in range(len(boxes)):
        shape = architecture
        expected = plain_assign(
            boxes[index], crowd[index], mask[index], shape.strides, size, classes,
            shape.assignment, shape.level_limits, shape.centre_radius,
        )  # fmt: skip
        got = [
            targets.classes,
            targets.distances,
            targets.centerness[..., 0],
            targets.positive,
            targets.class_weight,
        ]
        for name, one, other in zip(
            ("classes", "distances", "centerness", "positive", "class_weight"), got, expected, strict=True
        ):
            np.testing.assert_allclose(ops.convert_to_numpy(one)[index], other, atol=1e-4, err_msg=name)
    return ops.convert_to_numpy(targets.positive).sum()


def random_boxes(rng, batch, count, size, classes):
    boxes = np.zeros((batch, count, 5), np.float32)
    boxes[..., 0] = rng.integers(1, classes + 1, (batch, count))
    sides = np.exp(rng.uniform(np.log(1), np.log(size), (batch, count, 2)))
    low = rng.uniform(-0.1 * size, 1.0, (batch, count, 2)) + rng.uniform(0, 1, (batch, count, 2)) * (size - sides)
    boxes[..., 1:3], boxes[..., 3:5] = low, low + sides
    crowd = rng.random((batch, count)) < 0.15
    mask = rng.random((batch, count)) < 0.9
    return boxes, crowd, mask


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        (LITE, 128),
        (replace(LITE, assignment="ranges", level_limits=(32.0, 64.0, 128.0)), 128),
        (replace(R50, strides=(8, 16, 32, 64), level_limits=(64.0, 128.0, 256.0)), 128),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_random_boxes(architecture, size, seed):
    rng = np.random.default_rng(seed)
    assert check(*random_boxes(rng, 2, 9, size, 3), architecture, size, 3) > 0


def test_a_hundred_boxes_an_image():
    rng = np.random.default_rng(7)
    assert check(*random_boxes(rng, 1, 100, 128, 1), LITE, 128, 1) > 0


def test_areas_on_the_limits_belong_to_the_finer_level():
    # 64 x 64 is exactly 4,096: P2. One pixel more is P3. 128 x 128 is P3, 256 x 256 P4.
    sides = [64, 65, 128, 129, 256, 257]
    boxes = np.array([[[1, 4, 4, 4 + side, 4 + side]] for side in sides], np.float32)
    flags = np.ones((len(sides), 1), bool)
    targets = assign(boxes, ~flags, flags, LITE, 512, 1)
    positive = ops.convert_to_numpy(targets.positive)
    starts = np.cumsum([0, 128**2, 64**2, 32**2, 16**2])
    levels = [[positive[row, a:b].any() for a, b in pairwise(starts)] for row in range(6)]
    assert [row.index(True) for row in levels] == [0, 1, 1, 2, 2, 3]
    assert all(sum(row) == 1 for row in levels)
    check(boxes[:2], ~flags[:2], flags[:2], LITE, 128, 1)


def test_the_first_of_two_equal_areas_wins():
    boxes = np.array([[[1, 10, 10, 40, 30], [2, 12, 8, 32, 38]]], np.float32)  # both 600
    flags = np.ones((1, 2), bool)
    check(boxes, ~flags, flags, LITE, 64, 2)
    check(boxes[:, ::-1].copy(), ~flags, flags, LITE, 64, 2)


def test_boxes_at_the_border_and_smaller_than_a_cell():
    boxes = np.array(
        [
            [
                [1, 0, 0, 30, 30],
                [1, 34, 34, 64, 64],
                [1, -20, 40, 10, 70],
                [1, 40, 8, 40.5, 8.5],
                [1, 41, 1, 43, 3],
            ]
        ],
        np.float32,
    )
    flags = np.ones((1, 5), bool)
    assert check(boxes, ~flags, flags, LITE, 64, 1) > 0


def test_a_box_whose_side_passes_through_a_location_does_not_contain_it():
    boxes = np.array([[[1, 2, 2, 10, 10]]], np.float32)  # locations at 2, 6, 10: only 6 is strictly inside
    flags = np.ones((1, 1), bool)
    assert check(boxes, ~flags, flags, LITE, 64, 1) == 1


def test_no_box_at_all():
    boxes = np.zeros((2, 1, 5), np.float32)
    mask = np.zeros((2, 1), bool)
    assert check(boxes, mask, mask, LITE, 64, 1) == 0


def test_a_crowd_is_neither_person_nor_background():
    boxes = np.array([[[1, 0, 0, 64, 64], [1, 20, 20, 40, 40]]], np.float32)
    crowd = np.array([[True, False]])
    mask = np.ones((1, 2), bool)
    check(boxes, crowd, mask, LITE, 64, 1)
    targets = assign(boxes, crowd, mask, LITE, 64, 1)
    weight = ops.convert_to_numpy(targets.class_weight)[0]
    positive = ops.convert_to_numpy(targets.positive)[0]
    assert weight[positive > 0].min() == 1  # the person inside the crowd still counts
    assert weight[positive == 0].max() == 0  # all else is inside the crowd


def test_centerness_by_hand():
    values = ops.convert_to_numpy(centerness(np.array([[2, 3, 2, 3], [1, 2, 4, 2], [0, 1, 1, 1]], np.float32)))
    np.testing.assert_allclose(values[:, 0], [1, 0.5, 0], atol=1e-5)
