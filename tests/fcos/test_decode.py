import numpy as np
from keras import ops

from fcoslite.config.settings import DetectSettings
from fcoslite.fcos.decode import detect
from fcoslite.fcos.locations import locations_of

STRIDES = (8, 16)
SIZE = 64


def _outputs(batch: int, classes: int) -> dict[str, np.ndarray]:
    locations = sum((SIZE // stride) ** 2 for stride in STRIDES)
    return {
        "class_logits": np.full((batch, locations, classes), -12, np.float32),
        "distances": np.ones((batch, locations, 4), np.float32),
        "quality_logits": np.full((batch, locations, 1), 12, np.float32),
    }


def _detect(outputs, **settings):
    result = detect(outputs, locations_of(SIZE, STRIDES), DetectSettings(**settings))
    return ops.convert_to_numpy(result["detections"]), ops.convert_to_numpy(result["count"])


def test_a_box_is_decoded_where_its_location_is():
    outputs = _outputs(1, 2)
    points = locations_of(SIZE, STRIDES).points
    location = 64 + 5  # level of stride 16: row 1, column 1
    outputs["class_logits"][0, location, 1] = 2.0
    outputs["distances"][0, location] = [0.5, 1, 1.5, 1.25]
    found, count = _detect(outputs)
    assert count.tolist() == [1]
    x, y = points[location]
    score = 1 / (1 + np.exp(-2)) / (1 + np.exp(-12))
    np.testing.assert_allclose(found[0, 0], [x - 8, y - 16, x + 24, y + 20, score, 2], rtol=1e-4)
    assert (found[0, 1:] == 0).all()


def test_scores_below_the_threshold_and_centerness_count():
    outputs = _outputs(1, 1)
    outputs["class_logits"][0, 3, 0] = 0.0
    assert _detect(outputs, score=0.49)[1].tolist() == [1]
    assert _detect(outputs, score=0.51)[1].tolist() == [0]
    outputs["quality_logits"][0, 3] = 0.0
    assert _detect(outputs, score=0.26)[1].tolist() == [0]
    assert _detect(outputs, score=0.24)[1].tolist() == [1]


def test_equal_boxes_of_two_classes_both_stay():
    outputs = _outputs(1, 2)
    outputs["class_logits"][0, 3] = [1.0, 2.0]
    found, count = _detect(outputs)
    assert count.tolist() == [2]
    assert found[0, :2, 5].tolist() == [2, 1]


def test_at_most_max_detections_best_first():
    outputs = _outputs(2, 1)
    outputs["distances"][:] = 0.1  # no overlap
    outputs["class_logits"][0, :, 0] = np.linspace(0, 2, outputs["class_logits"].shape[1])
    found, count = _detect(outputs, max_detections=10)
    assert found.shape == (2, 10, 6)
    assert count.tolist() == [10, 0]
    assert (np.diff(found[0, :, 4]) <= 0).all()


def test_the_best_thousand_of_each_level_reach_nms():
    outputs = _outputs(1, 20)  # 1,280 candidates on the first level, 320 on the second
    outputs["distances"][:] = 0.1  # no overlap
    outputs["class_logits"][:] = np.random.default_rng(0).uniform(0, 2, outputs["class_logits"].shape)
    found, count = _detect(outputs, max_detections=1500)
    assert count.tolist() == [1000 + 320]
    fine = np.sort(outputs["class_logits"][0, :64].ravel())[-1000:]
    sides = found[0, :1320, 2] - found[0, :1320, 0]
    scores = np.sort(found[0, :1320][sides < 2, 4])
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-fine)) / (1 + np.exp(-12)), rtol=1e-4)


def test_scores_below_a_thousandth_never_reach_nms():
    outputs = _outputs(1, 1)
    outputs["class_logits"][0, [3, 40], 0] = np.log([0.0009 / 0.9991, 0.0011 / 0.9989])
    assert _detect(outputs, score=0.0)[1].tolist() == [1]
