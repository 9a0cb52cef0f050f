import numpy as np

from fcoslite.detections.detections import to_detections
from fcoslite.geometry.letterbox import Letterbox


def test_to_detections_maps_back_and_cuts():
    rows = np.zeros((5, 6), np.float32)
    rows[0] = [-10, 10, 32, 48, 0.5, 1]
    found = to_detections(rows, 1, Letterbox(100, 200, 64), ("person",))
    assert len(found) == 1
    # scale 0.32, 16 rows of padding above
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 0, 100, 100]], atol=1e-3)
    assert found.labels == ["person 0.79"]  # the cube root of 0.5
