"""What surrounds the network in an evaluation, with a network that is always right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from fcoslite.config.settings import ComputeSettings, DataSettings, DetectSettings, LossSettings, ModelSettings
from fcoslite.data.extract.extract import extract
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.records.build import build_records
from fcoslite.data.sources.folder import FolderSource
from fcoslite.data.sources.records import RecordSource
from fcoslite.errors import DataError
from fcoslite.evaluation.evaluation import check_source
from fcoslite.evaluation.evaluator import Evaluator, fill
from fcoslite.fcos.ground_truth import unpack
from fcoslite.geometry.batch_images import resize
from fcoslite.models.detector import build_detector

MODEL = ModelSettings(strides=(4, 8), image_size=64, classes=("person",), head_depth=0)


@pytest.fixture(scope="module")
def data(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluator")
    extract(demo_data / "annotations.json", demo_data / "images", folder)
    return folder


def _source(data: Path, folder: Path, size: int) -> RecordSource:
    build_records(data, folder, image_size=size)
    return RecordSource.open(folder, DataSettings(), ComputeSettings())


class Perfect:
    """Says the ground truth, in pixels of the model."""

    def predict_on_batch(self, batch):
        boxes = ops.convert_to_numpy(resize(*unpack(batch, LossSettings()), MODEL.image_size)[1])
        mask = boxes[..., 0] > 0
        # in the order of the file, which NMS keeps where scores fall by a little
        scores = np.where(mask, 0.9 - 0.001 * np.arange(mask.shape[1]), 0)[..., None]
        return {"loss": 0.5, "boxes": boxes[..., 1:5], "scores": scores.astype(np.float32)}


@pytest.mark.parametrize("size", [64, 96, 128])
def test_detections_lie_where_the_people_are_whatever_the_size_of_the_records(data, tmp_path, size, monkeypatch):
    evaluator = Evaluator(build_detector(MODEL), LossSettings(), DetectSettings(iou=1.0))  # each box stays
    monkeypatch.setattr(evaluator, "_model", lambda shape: Perfect())
    result = evaluator.run(_source(data, tmp_path, size), 4)
    assert len(result.images) == len(result.detections) > 20
    for label, found in zip(result.images, result.detections, strict=True):
        assert len(found.boxes_xyxy) == len(label.boxes_xyxy)
        np.testing.assert_allclose(found.boxes_xyxy, label.boxes_xyxy, atol=0.05, err_msg=str(label.image_id))
    assert result.metrics["ap75"] == pytest.approx(1)
    assert result.metrics["ap"] == pytest.approx(1)
    assert result.metrics["loss"] == 0.5


@pytest.mark.parametrize("assignment", ["area", "atss"])
def test_the_last_batch_is_filled_up_with_what_adds_nothing(data, tmp_path, assignment):
    model = MODEL.model_copy(update={"assignment": assignment})
    evaluator = Evaluator(build_detector(model, seed=0), LossSettings(), DetectSettings(score=0.0))
    source = _source(data, tmp_path, 64)
    batch, _ = next(iter(source.evaluation_batches(3)))
    filled = fill(batch, 4)
    assert {key: len(values) for key, values in filled.items()} == dict.fromkeys(batch, 4)
    alone, together = (evaluator._model(each["boxes"].shape).predict_on_batch(each) for each in (batch, filled))
    for key in ("loss", "class_loss", "box_loss", "quality_loss"):
        np.testing.assert_allclose(together[key], alone[key], rtol=1e-5, err_msg=key)
    for key in ("boxes", "scores"):
        np.testing.assert_allclose(together[key][:3], alone[key], rtol=1e-4, atol=1e-4, err_msg=key)
    assert fill(filled, 4) is filled

    shapes = []
    model_of = evaluator._model

    def noted(shape):
        shapes.append(shape[0])
        return model_of(shape)

    evaluator._model = noted
    assert len(source) % 5
    result = evaluator.run(source, 5)
    assert set(shapes) == {5}
    assert len(result.detections) == len(result.images) == len(source)


def test_sources_of_other_sizes_one_after_the_other(data):
    """As when training ends: the held-out images have few boxes each, the photographs of the package many."""
    detector = build_detector(MODEL.model_copy(update={"assignment": "atss"}), seed=0)
    whole = read_coco(data / "annotations.json", data / "images", ("person",))
    few = tuple(image for image in whole.images if len(image.class_ids) <= 1)[:3]
    small = FolderSource(replace(whole, images=few), few, 64, 1)
    evaluator, other = (Evaluator(detector, LossSettings(), DetectSettings(score=0.0)) for _ in range(2))
    evaluator.run(FolderSource(whole, whole.images[:8], 64, 1), 4)
    assert evaluator.run(small, 4).metrics == pytest.approx(other.run(small, 4).metrics)


def test_records_smaller_than_the_model_are_refused(data, tmp_path):
    with pytest.raises(DataError, match="letterboxed to 32 pixels, the model takes 64") as caught:
        check_source(("person",), 64, _source(data, tmp_path, 32))
    assert "--size 64" in caught.value.hint
