from pathlib import Path

import numpy as np
import pytest

from fcoslite import Detector
from fcoslite.data.images import UnusableImageError, read_image


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector("lite0", score=0.5)


def test_a_file_and_its_pixels_give_the_same(detector: Detector, demo_data: Path) -> None:
    path = demo_data / "images" / "000000000165.jpg"
    found, again, third = (detector.detect(each) for each in (path, str(path), read_image(path)))
    assert len(found) >= 2
    assert found.scores.min() > 0.5
    for other in (again, third):
        np.testing.assert_array_equal(found.boxes_xyxy, other.boxes_xyxy)
    assert detector.class_names == ("person",) and "ONNX" in detector.device


def test_what_is_no_image(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(UnusableImageError):
        detector.detect(tmp_path / "nowhere.jpg")
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"\[h, w, 3\] uint8"):
            detector.detect(wrong)


def test_to_supervision(detector: Detector, demo_data: Path) -> None:
    supervision = pytest.importorskip("supervision")
    found = detector.detect(demo_data / "images" / "000000000165.jpg")
    theirs = found.to_supervision()
    assert isinstance(theirs, supervision.Detections)
    np.testing.assert_array_equal(theirs.xyxy, found.boxes_xyxy)
    assert theirs.class_id.tolist() == [0] * len(found)
    assert theirs.data["class_name"].tolist() == ["person"] * len(found)
