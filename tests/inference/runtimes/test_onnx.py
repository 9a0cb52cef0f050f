from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from fcoslite.errors import WeightsError
from fcoslite.inference.runtimes.onnx import OnnxNetwork, Port
from tests.onnx_files import constant_model, write_model


def test_outputs_come_by_name_in_the_order_of_the_file(tmp_path: Path) -> None:
    values = {"b": np.arange(6, dtype=np.float32).reshape(1, 6), "a": np.array([3], np.int64)}
    network = OnnxNetwork(constant_model(tmp_path / "m.onnx", values, [1, 3, 8, 8]), threads=1)
    assert network.input == Port("images", (1, 3, 8, 8), "tensor(float)")
    outputs = network(np.zeros((1, 3, 8, 8), np.float32))
    assert list(outputs) == ["b", "a"] == [port.name for port in network.outputs]
    for name, value in values.items():
        np.testing.assert_array_equal(outputs[name], value)


def test_it_computes(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0)]
    network = OnnxNetwork(write_model(tmp_path / "m.onnx", nodes, ["mean"], [1, 3, "h", "w"]), threads=2)
    assert network.input.shape == (1, 3, "h", "w")
    for side in (4, 6):
        images = np.random.default_rng(0).random((1, 3, side, side)).astype(np.float32)
        assert network(images)["mean"] == pytest.approx(images.mean(), abs=1e-6)


@pytest.mark.parametrize("content", [b"", b"no ONNX", bytes(range(256)) * 40])
def test_what_is_no_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"m\.onnx") as raised:
        OnnxNetwork(path, threads=1)
    assert "whole ONNX file" in raised.value.hint or "inputs" in raised.value.message


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no ONNX file"):
        OnnxNetwork(tmp_path / "m.onnx", threads=1)


def test_a_file_cut_short(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": np.zeros(1000, np.float32)}, [1, 3, 8, 8])
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        OnnxNetwork(path, threads=1)


def test_an_operation_that_nobody_knows(tmp_path: Path) -> None:
    nodes = [helper.make_node("Oracle", ["images"], ["a"])]
    with pytest.raises(WeightsError, match="Oracle"):
        OnnxNetwork(write_model(tmp_path / "m.onnx", nodes, ["a"], [1, 3, 8, 8]), threads=1)


def test_two_inputs(tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("images", "sizes")]
    node = helper.make_node("Add", ["images", "sizes"], ["a"])
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("a", TensorProto.FLOAT, [1])])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(tmp_path / "m.onnx"))
    with pytest.raises(WeightsError, match="2 inputs"):
        OnnxNetwork(tmp_path / "m.onnx", threads=1)


def test_an_image_of_another_size(tmp_path: Path) -> None:
    network = OnnxNetwork(constant_model(tmp_path / "m.onnx", {"a": np.zeros(1, np.float32)}, [1, 3, 8, 8]), threads=1)
    with pytest.raises(WeightsError, match="cannot be run on float32 1x3x9x9"):
        network(np.zeros((1, 3, 9, 9), np.float32))
