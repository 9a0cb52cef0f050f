import numpy as np

from fcoslite.detections.detections import to_detections
from fcoslite.geometry.letterbox import Letterbox


def test_to_detections_maps_back_and_cuts():
    boxes, scores, ids = np.array([[-10, 10, 32, 48]]), np.array([0.5]), np.array([1])
    found = to_detections(boxes, scores, ids, Letterbox.square(100, 200, 64), ("person",))
    assert (found.boxes_xyxy.dtype, found.scores.dtype, found.class_ids.dtype) == (np.float32, np.float32, np.int32)
    # scale 0.32, 16 rows of padding above
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 0, 100, 100]], atol=1e-3)
    assert found.labels == ["person 0.79"]  # the cube root of 0.5
