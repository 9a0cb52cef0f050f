import numpy as np
import pytest
from keras import ops

from fcoslite.fcos.locations import locations_of
from fcoslite.fcos.locations_graph import locations_in_graph


@pytest.mark.parametrize("strides", [(4, 8), (8, 16, 32, 64)])
def test_of_a_square_they_are_those_that_training_has(strides):
    expected = locations_of(128, strides)
    points, sides = locations_in_graph(ops.zeros((1, 128, 128, 3)), strides)
    np.testing.assert_array_equal(points, expected.points)
    np.testing.assert_array_equal(sides[:, 0], expected.strides)


def test_rows_and_columns_of_an_image_that_the_stride_does_not_divide():
    points, sides = (ops.convert_to_numpy(each) for each in locations_in_graph(ops.zeros((2, 96, 160, 3)), (32, 64)))
    assert points.shape == (3 * 5 + 2 * 3, 2)
    assert points[:6].tolist() == [[16, 16], [48, 16], [80, 16], [112, 16], [144, 16], [16, 48]]
    assert points[15:].tolist() == [[32, 32], [96, 32], [160, 32], [32, 96], [96, 96], [160, 96]]
    assert sides[:, 0].tolist() == [32] * 15 + [64] * 6
