"""Files in the layouts of other projects, read by what those projects say, on real photographs."""

import ast
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import yaml

from fcoslite.config.settings import DetectSettings, ModelSettings
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import read_image
from fcoslite.data.sources.folder import FolderSource
from fcoslite.errors import ConfigError, WeightsError
from fcoslite.evaluation.export_detector import ExportPlan, ExportResult, export_detector
from fcoslite.evaluation.predictor_evaluator import PredictorEvaluator
from fcoslite.export.program_configuration import frigate_configuration, labels_text
from fcoslite.fcos.postprocess import postprocess
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.inference.about import about
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes.open import open_runtime
from fcoslite.models.detector import build_detector
from fcoslite.models.weights import save_weights
from fcoslite.runs.find_weights import packaged_weights
from tests.layout_readers import average_precision, blob, ssd_reader, yolo_reader

LITE0 = packaged_weights()["lite0"]
CLOSE = 0.005


@pytest.fixture(scope="module")
def ours(demo_data: Path) -> float:
    """AP of lite0 on the embedded photographs in squares of 384, which these layouts take."""
    predictor = Predictor.load(LITE0, about(LITE0).settings.evaluate)
    predictor.step = predictor.image_size
    dataset = read_coco(demo_data / "annotations.json", demo_data / "images", predictor.class_names)
    source = FolderSource(dataset, dataset.images, predictor.image_size, workers=2)
    return PredictorEvaluator(predictor).run(source, batch_size=1).metrics["ap"]


@pytest.fixture(scope="module")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return export_detector(ExportPlan(LITE0, tmp_path_factory.mktemp("yolo") / "lite0.onnx", layout="yolo"))


@pytest.fixture(scope="module")
def ssd(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    pytest.importorskip("ai_edge_litert")
    out = tmp_path_factory.mktemp("ssd") / "lite0.tflite"
    return export_detector(ExportPlan(LITE0, out, "litert", layout="ssd"))


def onnx_run(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    session = onnxruntime.InferenceSession(str(path))
    return lambda pixels: session.run(None, {"images": pixels})[0]


def small(folder: Path, **options: object) -> Path:
    """Random weights for three classes, of one level, which are converted in a third of the time."""
    classes = ("cat", "dog", "person")
    settings = ModelSettings(preset="lite0", strides=(8,), image_size=64, classes=classes, head_depth=0)
    detector = build_detector(settings.model_copy(update=options), seed=1)
    for weight in detector.network.weights:
        if weight.path.startswith("head_") and weight.path.endswith("/kernel"):
            weight.assign(0.05 * weight)  # else many scores are 1, and boxes thousands of pixels large
        elif weight.path == "head_class_logits/bias":
            weight.assign(0 * weight)
    save_weights(detector, folder / "small.npz")
    return folder / "small.npz"


def test_a_yolo_has_the_ports_and_metadata_of_ultralytics(yolo: ExportResult) -> None:
    session = onnxruntime.InferenceSession(str(yolo.out))
    [given], [made] = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(float)", [1, 3, 384, 384])
    locations = sum((384 // stride) ** 2 for stride in (8, 16, 32, 64))
    assert (made.name, made.type, made.shape) == ("output0", "tensor(float)", [1, 5, locations])
    told = session.get_modelmeta().custom_metadata_map
    assert ast.literal_eval(told["names"]) == {0: "person"}
    assert ast.literal_eval(told["imgsz"]) == [384, 384]
    assert (told["task"], int(told["stride"]), int(told["batch"]), int(told["channels"])) == ("detect", 64, 1, 3)
    assert ast.literal_eval(told["args"])["dynamic"] is False and ast.literal_eval(told["end2end"]) is False
    assert yolo.box_difference < 0.01 and yolo.score_difference < 1e-4


def test_a_yolo_finds_what_we_find(yolo: ExportResult, ours: float, demo_data: Path) -> None:
    runtime = open_runtime(LITE0)

    def as_a_yolo(blobs: np.ndarray) -> np.ndarray:
        dense = runtime(np.round(blobs * 255).astype(np.uint8).transpose(0, 2, 3, 1))
        low, high = dense.boxes_xyxy[..., :2], dense.boxes_xyxy[..., 2:]
        return np.concatenate([(low + high) / 2, high - low, dense.scores], axis=-1).transpose(0, 2, 1)

    expected = average_precision(yolo_reader(as_a_yolo, 384), demo_data)
    assert expected == pytest.approx(ours, abs=0.01)  # no box votes there
    run = onnx_run(yolo.out)
    assert average_precision(yolo_reader(run, 384), demo_data) == pytest.approx(expected, abs=CLOSE)
    network = cv2.dnn.readNetFromONNX(str(yolo.out))

    def in_opencv(pixels: np.ndarray) -> np.ndarray:
        network.setInput(pixels)
        return network.forward()

    noise = np.random.default_rng(0).random((1, 3, 384, 384)).astype(np.float32)
    np.testing.assert_allclose(in_opencv(noise), run(noise), atol=0.01)
    assert average_precision(yolo_reader(in_opencv, 384), demo_data) == pytest.approx(expected, abs=CLOSE)


def test_opencv_reads_standard_fcos(tmp_path: Path) -> None:
    """Its backbone turns RGB into BGR, for which ONNX has an operator that OpenCV has not."""
    slim = {"strides": (8,), "neck_channels": 32, "head_channels": 32, "head_depth": 1}
    settings = ModelSettings(preset="r50", image_size=128, **slim)
    save_weights(build_detector(settings, seed=1), tmp_path / "r50.npz")
    result = export_detector(ExportPlan(tmp_path / "r50.npz", tmp_path / "r50.onnx", layout="yolo"))
    noise = np.random.default_rng(0).random((1, 3, 128, 128)).astype(np.float32)
    network = cv2.dnn.readNetFromONNX(str(result.out))
    network.setInput(noise)
    np.testing.assert_allclose(network.forward(), onnx_run(result.out)(noise), rtol=1e-3, atol=0.01)


def test_nothing_in_a_yolo_repeats_along_a_fifth_axis(yolo: ExportResult) -> None:
    """OpenCV 4.10 takes the wrong axis of a Tile there, and boxes are a hundred pixels off."""
    operators = [node.op_type for node in onnx.load(str(yolo.out)).graph.node]
    assert "Tile" not in operators and operators.count("Resize") == 2


def test_frigate_finds_the_people_of_a_photograph(yolo: ExportResult, demo_data: Path) -> None:
    """frigate/util/model.py: the longer axis is that of the boxes, and nothing below 0.4 is seen."""
    document = yaml.safe_load(yolo.configurations["Frigate"])
    model = document["model"]
    image = cv2.imread(str(demo_data / "images" / "000000000165.jpg"))
    region = cv2.resize(image, (model["width"], model["height"]))
    rows = np.squeeze(onnx_run(yolo.out)(blob(region)))
    rows = rows.T if rows.shape[0] < rows.shape[1] else rows
    people = rows[rows[:, 4] > document["objects"]["filters"]["person"]["min_score"]]
    assert rows.shape[1] == 5 and len(people) > 5
    ours = open_runtime(LITE0)(Letterbox.square(384, 384, 384).apply_image(region[..., ::-1])[None])
    assert len(people) == (ours.scores > 0.35).sum()  # lite0's own threshold
    assert model["input_dtype"] == "float" and model["input_tensor"] == "nchw"


def test_an_ssd_has_the_outputs_of_tensorflows(ssd: ExportResult) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(ssd.out))
    [given], made = interpreter.get_input_details(), interpreter.get_output_details()
    assert (given["dtype"], given["shape"].tolist()) == (np.uint8, [1, 384, 384, 3])
    names = ["TFLite_Detection_PostProcess", *(f"TFLite_Detection_PostProcess:{number}" for number in (1, 2, 3))]
    assert [output["name"] for output in made] == names
    assert [output["shape"].tolist() for output in made] == [[1, 100, 4], [1, 100], [1, 100], [1]]
    assert {output["dtype"] for output in made} == {np.float32}
    with zipfile.ZipFile(ssd.out) as appended:
        assert appended.read("labels.txt").decode() == "person\n"
    # 1.08 at one box of score 0.05, which has neighbours at the edge of the overlap from which boxes vote; else 0.25
    assert ssd.box_difference < 1.1 and ssd.score_difference < 1e-4


def test_an_ssd_finds_what_we_find(ssd: ExportResult, ours: float, demo_data: Path) -> None:
    assert average_precision(ssd_reader(ssd.out), demo_data) == pytest.approx(ours, abs=CLOSE)


def test_an_ssd_gives_our_own_boxes(ssd: ExportResult, demo_data: Path) -> None:
    """Scores first, duplicates gone, those that stay moved by votes; after the count there is nothing."""
    from ai_edge_litert.interpreter import Interpreter

    pixels = read_image(demo_data / "images" / "000000000165.jpg")
    square = Letterbox.square(*pixels.shape[:2], 384).apply_image(pixels)
    dense = open_runtime(LITE0)(square[None])
    expected = postprocess(dense.boxes_xyxy[0], dense.scores[0], DetectSettings(score=0.005, iou=0.5))
    interpreter = Interpreter(str(ssd.out))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], square[None])
    interpreter.invoke()
    made = interpreter.get_output_details()
    boxes, classes, scores, count = (interpreter.get_tensor(each["index"])[0] for each in made)
    seen = int((expected.scores > 0.05).sum())
    assert count >= seen >= 2
    np.testing.assert_allclose(scores[:seen], np.sqrt(expected.scores[:seen]), atol=0.01)
    given, wanted = boxes[:seen, [1, 0, 3, 2]] * 384, np.clip(expected.boxes_xyxy[:seen], 0, 384)
    # scores that are equal to the last digits may change places
    np.testing.assert_allclose(given[np.lexsort(given.round().T)], wanted[np.lexsort(wanted.round().T)], atol=1)
    assert not classes.any() and not scores[int(count) :].any() and not boxes[int(count) :].any()
    assert (np.diff(scores[: int(count)]) <= 0).all()

    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.zeros_like(square)[None])
    interpreter.invoke()
    values = [interpreter.get_tensor(each["index"]) for each in made]
    assert all(np.isfinite(value).all() for value in values)


def test_constants_of_a_joined_file_lie_on_multiples_of_16(ssd: ExportResult) -> None:
    """As schema.fbs says they must; processors that need it read them where they lie."""
    from tensorflow.lite.python import schema_py_generated as schema

    content = ssd.out.read_bytes()
    model = schema.Model.GetRootAsModel(content, 0)
    buffers = [model.Buffers(number) for number in range(model.BuffersLength())]
    starts = [each._tab.Vector(each._tab.Offset(4)) for each in buffers if each.DataLength()]
    assert len(starts) > 50 and not any(start % 16 for start in starts)


def test_several_classes_and_one_score(tmp_path: Path) -> None:
    for quality in ("iou", "none"):
        weights = small(tmp_path, quality=quality)
        square = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
        dense = open_runtime(weights, "keras")(square)
        power = 2 if quality == "iou" else 1
        result = export_detector(ExportPlan(weights, tmp_path / "x.onnx", layout="yolo"))
        rows = onnx_run(result.out)(square.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        assert rows.shape == (1, 7, 64)
        np.testing.assert_allclose(rows[0, 4:].T ** power, dense.scores[0], atol=1e-5)
        centre, extent = rows[0, :2].T, rows[0, 2:4].T
        boxes = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
        np.testing.assert_allclose(boxes, dense.boxes_xyxy[0], rtol=1e-3, atol=1e-2)
        assert result.labels is not None and result.labels.read_text() == "cat\ndog\nperson\n"
        assert json.loads(result.configurations["Scrypted"])["labels"]["2"] == "person"


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_classes_do_not_suppress_each_other_in_an_ssd(tmp_path: Path, precision: str) -> None:
    """Of random weights a location says a bit of several classes, at one box."""
    pytest.importorskip("ai_edge_litert")
    weights = small(tmp_path)
    plan = ExportPlan(weights, tmp_path / "x.tflite", "litert", precision, layout="ssd")  # type: ignore[arg-type]
    result = export_detector(plan)
    rows = ssd_reader(result.out)(np.full((64, 64, 3), 200, np.uint8))
    of_first, of_last = (rows[rows[:, 5] == number, :4] for number in (0, 2))
    overlaps = pairwise_iou(of_first, of_last, np.zeros(len(of_last), bool))
    assert overlaps.max() > 0.9  # more than any IoU of NMS
    if precision == "float32":
        assert result.box_difference < 0.5 and result.score_difference < 1e-4


def test_a_yolo_in_int8_and_for_openvino(tmp_path: Path) -> None:
    weights = small(tmp_path)
    square = np.random.default_rng(0).random((2, 3, 64, 64)).astype(np.float32)
    exact = export_detector(ExportPlan(weights, tmp_path / "x.onnx", batch=2, layout="yolo"))
    expected = onnx_run(exact.out)(square)
    rounded = export_detector(ExportPlan(weights, tmp_path / "y.onnx", "onnx", "int8", batch=2, layout="yolo"))
    assert rounded.size_bytes < 0.5 * exact.size_bytes and rounded.ap_after is not None
    np.testing.assert_allclose(onnx_run(rounded.out)(square)[:, 4:], expected[:, 4:], atol=0.1)
    openvino = pytest.importorskip("openvino")
    result = export_detector(ExportPlan(weights, tmp_path / "z.xml", "openvino", batch=2, layout="yolo"))
    [found] = (
        openvino.Core().compile_model(str(result.out), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(square).values()
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)
    assert json.loads(result.configurations["Scrypted"])["files"] == ["z.xml", "z.bin"]
    assert "type: openvino" in result.configurations["Frigate"]


def test_we_do_not_take_them_for_our_own(yolo: ExportResult, ssd: ExportResult, tmp_path: Path) -> None:
    for result in (yolo, ssd):
        with pytest.raises(WeightsError, match="laid out for other programs") as raised:
            open_runtime(result.out)
        assert "--layout" in (raised.value.hint or "")
    shutil.copy(LITE0, tmp_path / "w.npz")
    shutil.copy(LITE0.with_suffix(".yaml"), tmp_path / "w.yaml")
    shutil.copy(yolo.out, tmp_path / "w.onnx")
    with pytest.raises(Exception, match="not the ONNX copy"):
        open_runtime(tmp_path / "w.npz", "onnx")


def test_what_cannot_be(tmp_path: Path) -> None:
    plan = ExportPlan(LITE0, tmp_path / "x", layout="yolo")
    for wrong in (
        replace(plan, format="litert"),
        replace(plan, format="saved-model"),
        replace(plan, layout="ssd"),
        replace(plan, nms=True),
        replace(plan, batch=None),
        replace(plan, layout="ssd", format="litert", batch=2),
        replace(plan, layout="ssd", format="litert", nms=True),
    ):
        with pytest.raises(ConfigError, match="layout"):
            export_detector(wrong)
    many = tuple(f"class {number}" for number in range(100))
    settings = ModelSettings(preset="lite0", image_size=64, classes=many, head_depth=0)
    save_weights(build_detector(settings, seed=1), tmp_path / "many.npz")
    with pytest.raises(ConfigError, match="85 boxes of 104 numbers") as raised:
        export_detector(ExportPlan(tmp_path / "many.npz", tmp_path / "x.onnx", layout="yolo"))
    assert "--size" in (raised.value.hint or "")


def test_labels_are_read_as_they_are_meant() -> None:
    """frigate/util/builtin.py, load_labels: numbers are read where the first line begins with one and a blank."""

    def read(text: str) -> dict[int, str]:
        lines = text.splitlines(keepends=True)
        if lines[0].split(" ", maxsplit=1)[0].isdigit():
            return {int(number): name.strip() for number, name in (line.split(" ", maxsplit=1) for line in lines)}
        return {number: line.strip() for number, line in enumerate(lines)}

    for names in (["person"], ["person", "7 up"], ["3 wheeler", "person"], ["0", "1"], ["10"], ["fire truck", "x"]):
        assert read(labels_text(names)) == dict(enumerate(names))


def test_a_threshold_that_frigate_does_not_have_is_told() -> None:
    for score, written in ((0.25, 0.4), (math.sqrt(0.35), 0.59)):
        text = frigate_configuration("onnx", "a b.onnx", "l.txt", 320, ["car", "person: a", "person"], score, "yolo")
        document = yaml.safe_load(text)
        assert document["objects"]["filters"] == {"person": {"min_score": written, "threshold": written}}
        assert document["model"]["path"] == "/config/model_cache/a b.onnx"
        assert ("Frigate sees nothing below" in text) == (score < 0.4)
    without = yaml.safe_load(frigate_configuration("litert", "a", "b", 320, ["car: red"], 0.5, "ssd"))
    assert without["objects"]["track"] == ["car: red"]
