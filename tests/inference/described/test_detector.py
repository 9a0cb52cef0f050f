import os
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import read_image
from fcoslite.detections.formats import to_results
from fcoslite.errors import ConfigError, FcosliteError, WeightsError
from fcoslite.evaluation.coco_metrics import coco_metrics
from fcoslite.inference.described.description import (
    BoxOutputs,
    Description,
    InputDescription,
    packaged_descriptions,
    read_description,
)
from fcoslite.inference.described.detector import DescribedDetector, prepare
from tests.onnx_files import BRIGHT_SPOT, bright_spot_model, constant_model

SPOT = Description.model_validate(yaml.safe_load(BRIGHT_SPOT))


def described(name: str) -> Description:
    return read_description(packaged_descriptions()[name])


def detector(path: Path, description: Description = SPOT, size: int | None = None) -> DescribedDetector:
    return DescribedDetector(path, description, size, score=0.3, threads=1)


def spots(height: int, width: int, *cells: tuple[int, int]) -> np.ndarray:
    """Black, with white squares of 8 pixels."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in cells:
        image[y * 8 : y * 8 + 8, x * 8 : x * 8 + 8] = 255
    return image


def test_boxes_come_back_in_pixels_of_the_image(tmp_path: Path) -> None:
    found = detector(bright_spot_model(tmp_path / "m.onnx", 64)).predict(spots(64, 64, (1, 2), (5, 3)))
    # centres at (12, 20) and (44, 28), six pixels to each side
    assert sorted(found.boxes_xyxy.tolist()) == [[6, 14, 18, 26], [38, 22, 50, 34]]
    np.testing.assert_allclose(found.scores, 1, atol=1e-4)
    assert found.class_ids.tolist() == [1, 1] and found.class_names == ("person",)


def test_a_larger_image_is_letterboxed_to_the_top_left(tmp_path: Path) -> None:
    image = spots(64, 128, (2, 4), (3, 4), (2, 5), (3, 5))  # half as large: the cell (1, 2)
    found = detector(bright_spot_model(tmp_path / "m.onnx", 64)).predict(image)
    np.testing.assert_allclose(found.boxes_xyxy, [[12, 28, 36, 52]])


def test_a_fixed_size_is_freed(tmp_path: Path) -> None:
    path = bright_spot_model(tmp_path / "m.onnx", 64)
    for size in (32, 96, 128):
        freed = detector(path, size=size)
        assert freed.image_size == size
        found = freed.predict(spots(size, size, (1, 2)))
        assert found.boxes_xyxy.tolist() == [[6, 14, 18, 26]]


def test_a_size_that_is_not_to_be_had(tmp_path: Path) -> None:
    path = bright_spot_model(tmp_path / "m.onnx", 64, fixed=True)
    assert len(detector(path).predict(spots(64, 64, (1, 2))))
    with pytest.raises(WeightsError, match="cannot be run on float32 1x3x96x96"):
        detector(path, size=96).predict(spots(64, 64))
    with pytest.raises(ConfigError) as raised:
        detector(path, size=72)
    assert "multiple of 16" in raised.value.hint


def test_without_the_package_onnx_a_size_stays_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bright_spot_model(tmp_path / "m.onnx", 64)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert detector(path, size=64).image_size == 64
    with pytest.raises(FcosliteError, match="package onnx") as raised:
        detector(path, size=96)
    assert "pip install onnx" in raised.value.hint


def test_a_free_size_has_to_be_chosen(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": np.zeros((1, 84, 85), np.float32)}, [1, 3, "h", "w"])
    with pytest.raises(ConfigError) as raised:
        detector(path, described("yolox"))
    assert "--size" in raised.value.hint
    assert len(detector(path, described("yolox"), size=64).predict(spots(64, 64))) == 0


def test_yolox_from_a_file(tmp_path: Path) -> None:
    rows = np.zeros((1, 84, 85), np.float32)
    # two neighbours for the same person: centre ((3 + 0.5) x 8, (2 + 0.25) x 8), 16 x 24
    for row, x, objectness in ((19, 0.5, 0.9), (20, -0.5, 0.8)):
        rows[0, row, :6] = [x, 0.25, np.log(2), np.log(3), objectness, 0.8]
    found = detector(constant_model(tmp_path / "m.onnx", {"a": rows}, [1, 3, 64, 64]), described("yolox"))
    seen = found.predict(spots(64, 128))  # twice as large
    np.testing.assert_allclose(seen.boxes_xyxy, [[40, 12, 72, 60]], rtol=1e-5)
    np.testing.assert_allclose(seen.scores, [0.72], rtol=1e-5)


COUNTED = Description(
    classes={"person": 1},
    input=InputDescription(layout="nhwc", channels="rgb", dtype="uint8", letterbox="centred"),
    boxes=BoxOutputs(rows="detections", count="count"),
)


def test_rows_with_a_count_in_the_middle(tmp_path: Path) -> None:
    rows = np.zeros((1, 10, 6), np.float32)
    rows[0, 0] = [10, 20, 30, 40, 0.9, 1]
    outputs = {"detections": rows, "count": np.array([1], np.int32)}
    path = constant_model(tmp_path / "m.onnx", outputs, [1, 64, 64, 3], "uint8")
    # 128 x 64 pixels lie in the middle, 16 letterboxed rows below the top
    np.testing.assert_allclose(detector(path, COUNTED).predict(spots(64, 128)).boxes_xyxy, [[20, 8, 60, 48]])


def test_boxes_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    rows = np.zeros((1, 10, 6), np.float32)
    rows[0, :3] = [[10, 20, np.nan, 40, 0.9, 1], [10, 20, 30, 40, np.nan, 1], [10, 20, 30, 40, np.inf, 1]]
    outputs = {"detections": rows, "count": np.array([3], np.int32)}
    path = constant_model(tmp_path / "m.onnx", outputs, [1, 64, 64, 3], "uint8")
    assert len(detector(path, COUNTED).predict(spots(64, 64))) == 0


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ([1, 64, 64, 3], "float32", "described as float32 nchw"),
        ([1, 3, 64, 64], "uint8", "described as float32 nchw"),
        ([3, 64, 64], "float32", "described as float32 nchw"),
        ([4, 3, 64, 64], "float32", "batches of 4"),
        ([1, 3, 64, 96], "float32", "96 x 64"),
        ([1, 1, 64, 64], "float32", "described as"),
    ],
)
def test_inputs_of_another_kind_than_described(tmp_path: Path, shape: list[int], dtype: str, message: str) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": np.zeros(1, np.float32)}, shape, dtype)
    with pytest.raises(ConfigError, match=message):
        detector(path)


def test_outputs_of_another_kind_than_described(tmp_path: Path) -> None:
    path = bright_spot_model(tmp_path / "m.onnx", 64)
    with pytest.raises(ConfigError, match=r"m\.onnx: the outputs are .* described as one of"):
        detector(path, described("yolox")).predict(spots(64, 64))


def test_pixels_as_the_network_takes_them() -> None:
    image = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)
    form = InputDescription(layout="nchw", channels="bgr", mean=(1, 2, 3), std=(2, 4, 8), letterbox="top-left")
    taken = prepare(image, form)
    assert taken.shape == (1, 3, 2, 2) and taken.dtype == np.float32
    # blue first: 2, 5, 8, 11
    np.testing.assert_allclose(taken[0, 0].ravel(), (np.array([2, 5, 8, 11]) - 1) / 2)
    np.testing.assert_allclose(taken[0, 2].ravel(), (np.array([0, 3, 6, 9]) - 3) / 8)
    plain = prepare(image, InputDescription(layout="nhwc", channels="rgb", dtype="uint8", letterbox="centred"))
    np.testing.assert_array_equal(plain, image[None])
    assert plain.dtype == np.uint8


@pytest.mark.skipif("FCOSLITE_TEACHER" not in os.environ, reason="FCOSLITE_TEACHER names no RTMDet file")
def test_a_real_teacher(demo_data: Path) -> None:
    """RTMDet-nano for persons, of its head's outputs, on the embedded photographs, of which it knows some."""
    teacher = DescribedDetector(Path(os.environ["FCOSLITE_TEACHER"]), described("rtmdet"), 416, 0.05, threads=2)
    dataset = read_coco(demo_data / "annotations.json", demo_data / "images", ["person"])
    found = [teacher.predict(read_image(dataset.folder / image.file_name)) for image in dataset.images]
    figures, _ = coco_metrics(dataset.images, to_results(dataset.images, found, [1]), ["person"])
    assert figures["ap50"] > 0.6
