"""A teacher in training: where its answers belong, what is refused, and that the student follows it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from keras import ops
from onnx import TensorProto, helper

from fcoslite.config.settings import ModelSettings
from fcoslite.errors import ConfigError, WeightsError
from fcoslite.fcos.locations import locations_of
from fcoslite.geometry.boxes import ltrb_to_xyxy
from fcoslite.models.detector import build_detector
from fcoslite.models.weights import load_detector, save_weights
from fcoslite.runs.find_weights import packaged_weights
from fcoslite.runs.run import Run
from fcoslite.training import loop
from fcoslite.training.plan import plan_resume, plan_run
from fcoslite.training.teacher import Teacher, check_teacher, find_teacher, load_teacher

STUDENT = ModelSettings(preset="lite0", classes=("person",), image_size=64)
DESCRIPTION = """
classes: {person: 0}
input: {layout: nchw, channels: bgr, mean: [10, 20, 30], std: [2, 4, 8], letterbox: top-left}
dense: {layout: nhwc, strides: [8, 32], first_point: 0, score_channel: 0, activation: none, box_channel: 1,
        box: sides-pixels}
"""


def average_network(path: Path, description: str = DESCRIPTION) -> Path:
    """Gives the normalised colours of each cell's upper left corner, in two of its maps, twice over."""
    kernel = np.zeros((5, 3, 1, 1), np.float32)
    kernel[[0, 1, 2, 3, 4], [0, 1, 2, 0, 1]] = 1
    nodes = []
    for stride in (8, 32):
        nodes += [
            helper.make_node("Conv", ["image", "kernel"], [f"c{stride}"], strides=[stride, stride]),
            helper.make_node("Transpose", [f"c{stride}"], [f"s{stride}"], perm=[0, 2, 3, 1]),
        ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])
    outputs = [helper.make_tensor_value_info(f"s{stride}", TensorProto.FLOAT, None) for stride in (8, 32)]
    constant = helper.make_tensor("kernel", TensorProto.FLOAT, kernel.shape, kernel.ravel())
    graph = helper.make_graph(nodes, "net", [image], outputs, [constant])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    path.with_suffix(".yaml").write_text(description)
    return path


def _numpy(*values):
    return [ops.convert_to_numpy(value) for value in values]


def test_our_own_weights_teach_what_their_network_says(tmp_path):
    student = STUDENT.model_copy(update={"image_size": 128})  # a size of its own
    teach = load_teacher(find_teacher("lite0", tmp_path), student)
    views = np.random.default_rng(0).random((2, 128, 128, 3), np.float32)
    scores, boxes, known = _numpy(*(getattr(teach(views), name) for name in ("scores", "boxes_xyxy", "known")))
    detector = build_detector(load_detector(packaged_weights()["lite0"])[0].settings.model_copy(update=vars(student)))
    assert known.min() == 1 and scores.shape == (2, len(locations_of(128, (8, 16, 32, 64))), 1)
    assert boxes.shape == (*scores.shape[:2], 4) and 0 < scores.max() < 1
    assert detector.image_size == 128
    # a level that a student has and the teacher does not: `lite` has none of 64 pixels
    other = load_teacher(find_teacher("lite", tmp_path), student)(views)
    level = locations_of(128, (8, 16, 32, 64)).levels[3]
    known, scores = _numpy(other.known, other.scores)
    assert known[0, level].max() == 0 and known[0, : level.start].min() == 1 and scores[:, level].max() == 0


def test_an_answer_at_the_corners_of_cells_is_brought_to_their_middles(tmp_path):
    path = average_network(tmp_path / "net.onnx")
    views = np.random.default_rng(1).random((2, 64, 64, 3), np.float32)
    taught = load_teacher(find_teacher(str(path), tmp_path), STUDENT)(views)
    scores, boxes, known = _numpy(taught.scores, taught.boxes_xyxy, taught.known)
    levels = locations_of(64, (8, 16, 32, 64)).levels
    assert [known[0, level].tolist() for level in levels] == [[1] * 64, [0] * 16, [1] * 4, [0]]

    normalised = (views[..., ::-1] * 255 - [10, 20, 30]) / [2, 4, 8]  # blue, green, red
    corners = normalised[:, ::8, ::8]  # (2, 8, 8, 3)
    around = [corners[:, y, x] for y in (2, 3) for x in (4, 5)]
    location = 2 * 8 + 4
    np.testing.assert_allclose(scores[:, location, 0], np.mean(around, axis=0)[:, 0], rtol=1e-4)
    for image in range(2):
        best = int(np.argmax([one[image, 0] for one in around]))
        point = np.array([4 + best % 2, 2 + best // 2]) * 8
        values = around[best][image]  # channel 1 to 4 of the output: green, red, blue, green
        expected = [point[0] - values[1], point[1] - values[2], point[0] + values[0], point[1] + values[1]]
        np.testing.assert_allclose(boxes[image, location], expected, rtol=1e-4)
    # at the rim the nearest corner stands for what is outside
    last = np.mean([corners[:, 7, 7]] * 4, axis=0)[:, 0]
    np.testing.assert_allclose(scores[:, 63, 0], last, rtol=1e-4)


def test_a_grid_of_middles_is_taken_as_it_is(tmp_path):
    described = DESCRIPTION.replace("first_point: 0", "first_point: 0.5").replace("sides-pixels", "sides-strides")
    path = average_network(tmp_path / "net.onnx", described.replace("bgr", "rgb"))
    views = np.random.default_rng(1).random((1, 64, 64, 3), np.float32)
    taught = load_teacher(find_teacher(str(path), tmp_path), STUDENT)(views)
    scores, boxes = _numpy(taught.scores, taught.boxes_xyxy)
    red, green, blue = ((views[0, ::8, ::8] * 255 - [10, 20, 30]) / [2, 4, 8]).reshape(64, 3).T
    np.testing.assert_allclose(scores[0, :64, 0], red, rtol=1e-4)
    locations = locations_of(64, (8,))
    expected = ltrb_to_xyxy(locations.points, np.stack([green, blue, red, green], -1) * 8)
    np.testing.assert_allclose(boxes[0, :64], _numpy(expected)[0], rtol=1e-4)


def test_a_teacher_is_found_again_from_anywhere(tmp_path, monkeypatch):
    average_network(tmp_path / "net.onnx")
    (tmp_path / "net.yaml").rename(tmp_path / "of-it.yaml")
    monkeypatch.chdir(tmp_path)
    teacher = find_teacher("./net.onnx:./of-it.yaml", tmp_path)
    monkeypatch.chdir("/")
    assert find_teacher(teacher.name, tmp_path) == teacher


def test_what_cannot_teach_is_refused(tmp_path):
    path = average_network(tmp_path / "net.onnx")
    with pytest.raises(WeightsError, match="no ONNX file"):
        find_teacher(str(tmp_path / "absent.onnx"), tmp_path)
    with pytest.raises(ConfigError, match="no description named"):
        find_teacher(f"{path}:rtmdett", tmp_path)
    with pytest.raises(ConfigError, match="not what it sees at every point"):
        find_teacher(f"{path}:yolox", tmp_path)
    teacher = find_teacher(str(path), tmp_path)
    check_teacher(teacher, STUDENT)
    with pytest.raises(ConfigError, match="does not know dog"):
        check_teacher(teacher, STUDENT.model_copy(update={"classes": ("person", "dog")}))
    coarse = average_network(tmp_path / "coarse.onnx", DESCRIPTION.replace("[8, 32]", "[128, 256]"))
    with pytest.raises(ConfigError, match=r"strides \[128, 256\], none of the student's"):
        check_teacher(find_teacher(str(coarse), tmp_path), STUDENT)
    small = ModelSettings(classes=("person",), image_size=96)  # `lite`, of strides up to 32
    with pytest.raises(ConfigError, match="takes no images of 96 pixels") as caught:
        check_teacher(find_teacher("lite0", tmp_path), small)
    assert "model.image_size=64" in caught.value.hint
    for change, told in (("[8, 32]", "outputs are"), ("score_channel: 0", "channel")):
        wrong = DESCRIPTION.replace(change, {"[8, 32]": "[8, 16, 32]"}.get(change, "score_channel: 7"))
        other = average_network(tmp_path / "other.onnx", wrong)
        with pytest.raises(ConfigError, match=told):
            check_teacher(find_teacher(str(other), tmp_path), STUDENT)


def test_a_run_learns_from_its_teacher_and_goes_on_with_it(workspace, slim, tmp_path):
    file = tmp_path / "teacher.npz"
    save_weights(build_detector(slim.model.model_copy(update={"classes": ("person",)}), seed=2), file)
    settings = slim.model_copy(update={"train": slim.train.model_copy(update={"epochs": 2})})
    plan = plan_run("train", settings, workspace / "records", teacher=str(file))
    teacher: Teacher | None = plan.teacher
    assert teacher is not None and plan.describe()["teacher"] == str(file)
    result = loop.train(plan, Path(slim.workspace.runs))
    run = Run(result.run.path)
    first, last = run.read_metrics()
    assert first["teacher_loss"] > 0 and last["teacher_loss"] > 0 and "val_teacher_loss" not in last
    assert json.loads((run.path / "run.json").read_text())["teacher_digest"] == teacher.digest

    assert plan_resume(run).teacher == teacher
    moved = tmp_path / "moved.npz"
    moved.write_bytes(file.read_bytes())
    again = plan_resume(run, teacher=str(moved)).teacher
    assert again is not None and again.digest == teacher.digest
    other = tmp_path / "other.npz"
    save_weights(build_detector(STUDENT, seed=1), other)
    with pytest.raises(ConfigError, match="not the teacher that the run was started with"):
        plan_resume(run, teacher=str(other))
    facts = run.facts()
    run.write_json("run.json", facts | {"teacher_digest": "of another day"})
    with pytest.raises(ConfigError, match="has changed since"):
        plan_resume(run)
    run.write_json("run.json", {key: value for key, value in facts.items() if not key.startswith("teacher")})
    with pytest.raises(ConfigError, match="started without a teacher"):
        plan_resume(run, teacher="lite0")
