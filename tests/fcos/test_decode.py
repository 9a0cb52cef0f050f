import numpy as np
from keras import ops

from fcoslite.fcos.decode import decode
from fcoslite.fcos.locations import locations_of

STRIDES = (8, 16)
SIZE = 64


def test_a_box_is_decoded_where_its_location_is():
    locations = locations_of(SIZE, STRIDES)
    rng = np.random.default_rng(0)
    outputs = {
        "class_logits": rng.normal(0, 3, (2, len(locations), 2)).astype(np.float32),
        "distances": np.ones((2, len(locations), 4), np.float32),
        "quality_logits": rng.normal(0, 3, (2, len(locations), 1)).astype(np.float32),
    }
    location = 64 + 5  # level of stride 16: row 1, column 1
    outputs["distances"][1, location] = [0.5, 1, 1.5, 1.25]
    found = {
        name: ops.convert_to_numpy(value)
        for name, value in decode(outputs, locations.points, locations.strides[:, None]).items()
    }
    np.testing.assert_allclose(found["boxes"][1, location], [24 - 8, 24 - 16, 24 + 24, 24 + 20])
    np.testing.assert_allclose(found["boxes"][0, 0], [4 - 8, 4 - 8, 4 + 8, 4 + 8])
    expected = 1 / (1 + np.exp(-outputs["class_logits"])) / (1 + np.exp(-outputs["quality_logits"]))
    np.testing.assert_allclose(found["scores"], expected, rtol=1e-4)

    del outputs["quality_logits"]
    alone = ops.convert_to_numpy(decode(outputs, locations.points, locations.strides[:, None])["scores"])
    np.testing.assert_allclose(alone, 1 / (1 + np.exp(-outputs["class_logits"])), rtol=1e-4)
