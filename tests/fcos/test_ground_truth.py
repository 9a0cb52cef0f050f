import numpy as np
from keras import ops

from fcoslite.fcos.ground_truth import candidates, channels, ignored, sides, unpack


def test_what_a_row_means():
    rows = [
        [2, 1, 2, 3, 4, 0],  # to be found
        [1, 1, 2, 3, 4, 1],  # a crowd
        [0, 1, 2, 3, 4, 0],  # padding, whatever else it says
        [0, 1, 2, 3, 4, 1],
        [0, 0, 0, 0, 0, 0],
    ]
    boxes = np.float32([rows])
    assert ops.convert_to_numpy(candidates(boxes)).tolist() == [[True, False, False, False, False]]
    assert ops.convert_to_numpy(ignored(boxes)).tolist() == [[False, True, False, False, False]]
    assert ops.convert_to_numpy(channels(boxes)).tolist() == [[1, 0, -1, -1, -1]]
    assert ops.convert_to_numpy(sides(boxes))[0, 0].tolist() == [1, 2, 3, 4]


def test_a_batch_is_unpacked():
    batch = {
        "images": np.full((1, 2, 2, 3), 51, np.uint8),
        "boxes": np.float32([[[1, 0, 0, 2, 2], [1, 0, 0, 1, 1]]]),
        "crowd": np.array([[False, True]]),
    }
    images, boxes = map(ops.convert_to_numpy, unpack(batch))
    np.testing.assert_allclose(images, 0.2, rtol=1e-6)
    assert boxes.tolist() == [[[1, 0, 0, 2, 2, 0], [1, 0, 0, 1, 1, 1]]]
