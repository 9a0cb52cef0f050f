from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from fcoslite.config.settings import DetectSettings
from fcoslite.data.images import read_image
from fcoslite.errors import WeightsError
from fcoslite.export.append_nms import append_nms
from fcoslite.fcos.nms import non_max_suppression
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.runtimes.onnx import OnnxRuntime
from fcoslite.models.facts import KEY, read_facts
from fcoslite.runs.find_weights import packaged_weights


def test_with_nms_it_gives_what_our_nms_gives(tmp_path: Path, demo_data: Path) -> None:
    path, out = packaged_weights()["lite0"].with_suffix(".onnx"), tmp_path / "nms.onnx"
    model = onnx.load(str(path))
    facts = read_facts({each.key: each.value for each in model.metadata_props}, path)
    onnx.save(append_nms(model, facts.model_copy(update={"nms": True})), str(out))

    pixels = read_image(demo_data / "images" / "000000000165.jpg")
    size = facts.image_size
    square = Letterbox.square(*pixels.shape[:2], size).apply_image(pixels)
    settings = DetectSettings(score=0.1, iou=0.5)
    boxes, scores = OnnxRuntime(path, threads=1)(square[None])
    seen = np.flatnonzero(scores[0, :, 0] > settings.score)
    boxes, scores = boxes[0, seen], scores[0, seen, 0]
    kept = non_max_suppression(boxes, scores, np.zeros(len(seen), int), settings.iou, settings.max_detections).kept
    session = onnxruntime.InferenceSession(str(out))
    assert [each.name for each in session.get_inputs()] == ["images", "iou_threshold", "score_threshold"]
    thresholds = {f"{name}_threshold": np.array([getattr(settings, name)], np.float32) for name in ("score", "iou")}
    [rows] = session.run(["detections"], {"images": square[None], **thresholds})
    rows = rows[np.argsort(-rows[:, 5], kind="stable")]
    assert len(rows) == len(kept) >= 2
    np.testing.assert_allclose(rows[:, 1:5], boxes[kept], atol=1e-3)
    np.testing.assert_allclose(rows[:, 5], scores[kept], atol=1e-6)
    assert rows[:, 0].tolist() == [0] * len(rows) and rows[:, 6].tolist() == [1] * len(rows)

    assert KEY in {each.key for each in onnx.load(str(out)).metadata_props}
    with pytest.raises(WeightsError, match="3 inputs") as raised:
        OnnxRuntime(out, threads=1)
    assert "--nms" in (raised.value.hint or "")
