import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from fcoslite.config.settings import LossSettings
from fcoslite.fcos.ground_truth import candidates, channels, ignored, probabilities, sides, to_probability, unpack


def test_what_a_row_means():
    rows = [
        [2, 1, 2, 3, 4, 0],  # to be found
        [1, 1, 2, 3, 4, 1],  # a crowd
        [1, 1, 2, 3, 4, 0.75],  # one that may be right
        [0, 1, 2, 3, 4, 0],  # padding, whatever else it says
        [0, 1, 2, 3, 4, 1],
        [0, 0, 0, 0, 0, 0],
    ]
    boxes = np.float32([rows])
    assert ops.convert_to_numpy(candidates(boxes)).tolist() == [[True, False, True, False, False, False]]
    assert ops.convert_to_numpy(ignored(boxes)).tolist() == [[False, True, False, False, False, False]]
    assert ops.convert_to_numpy(channels(boxes)).tolist() == [[1, 0, 0, -1, -1, -1]]
    assert ops.convert_to_numpy(probabilities(boxes))[0, :3].tolist() == [1, 0, 0.25]
    assert ops.convert_to_numpy(sides(boxes))[0, 0].tolist() == [1, 2, 3, 4]


def test_a_batch_is_unpacked():
    batch = {
        "images": np.full((1, 2, 2, 3), 51, np.uint8),
        "boxes": np.float32([[[1, 0, 0, 2, 2], [1, 0, 0, 1, 1], [1, 0, 0, 1, 2], [2, 0, 0, 2, 1], [0, 0, 0, 0, 0]]]),
        "crowd": np.array([[False, True, False, False, False]]),
        "scores": np.float32([[1, 0.1, 0.35, 0.2, 0]]),
    }
    images, boxes = map(ops.convert_to_numpy, unpack(batch, LossSettings()))
    np.testing.assert_allclose(images, 0.2, rtol=1e-6)
    assert boxes[0, :2].tolist() == [[1, 0, 0, 2, 2, 0], [1, 0, 0, 1, 1, 1]]
    np.testing.assert_allclose(boxes[0, 2], [1, 0, 0, 1, 2, 0.5], atol=1e-6)  # by the table
    assert boxes[0, 3:, 0].tolist() == [0, 0]  # below the least score: padding
    everything = unpack(batch, LossSettings(least_score=0.1))[1]
    np.testing.assert_allclose(everything[0, 3], [2, 0, 0, 2, 1, 0.8], atol=1e-6)


@given(st.floats(0, 1, width=32))
def test_probabilities_rise_with_scores(score):
    table = ((0.25, 0.2), (0.5, 0.75))
    expected = np.interp(score, [0, 0.25, 0.5, 1], [0, 0.2, 0.75, 1])
    assert float(to_probability(np.float32([score]), table)[0]) == pytest.approx(expected, abs=1e-6)
    assert float(to_probability(np.float32([1]), table)[0]) == 1  # to the bit
    assert float(to_probability(np.float32([score]), ())[0]) == pytest.approx(score, abs=1e-6)
