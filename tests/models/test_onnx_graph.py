"""An ONNX file by keras.ops against ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from keras import ops
from onnx import TensorProto, helper

from fcoslite.errors import WeightsError
from fcoslite.models.onnx_graph import read_onnx_function

RANDOM = np.random.default_rng(0)


def constant(name, values):
    return helper.make_tensor(name, TensorProto.FLOAT, values.shape, values.astype(np.float32).ravel())


def write(path, nodes, constants, outputs, side=16):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "net", [image], results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path


def small_network(path):
    """Every operator that is known, in the forms that detectors have."""
    nodes = [
        helper.make_node("Conv", ["image", "k1", "b1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Sigmoid", ["c1"], ["g1"]),
        helper.make_node("Mul", ["c1", "g1"], ["s1"]),
        helper.make_node("Conv", ["s1", "k2"], ["c2"], group=8, pads=[2, 2, 2, 2], kernel_shape=[5, 5]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["m"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
        helper.make_node("Concat", ["r2", "m"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "k3", "b3"], ["c3"], strides=[2, 2], pads=[0, 0, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["c3"], ["mean"]),
        helper.make_node("HardSigmoid", ["mean"], ["attention"], alpha=1 / 6, beta=0.5),
        helper.make_node("Mul", ["c3", "attention"], ["weighed"]),
        helper.make_node("Resize", ["weighed", "", "twice"], ["up"], mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric"),
        helper.make_node("Add", ["up", "s1"], ["sum"]),
        helper.make_node("Add", ["sum", "each"], ["one"]),
        helper.make_node("Mul", ["one", "of_three"], ["shifted"]),
        helper.make_node("Transpose", ["shifted"], ["fine"], perm=[0, 2, 3, 1]),
    ]  # fmt: skip
    shapes = {"k1": (8, 3, 3, 3), "b1": (8,), "k2": (8, 1, 5, 5), "k3": (8, 16, 3, 3), "b3": (8,), "each": (1, 8, 1, 1)}
    shapes["of_three"] = (8, 1, 1)
    constants = [constant(name, RANDOM.normal(0, 0.4, shape)) for name, shape in shapes.items()]
    return write(path, nodes, [*constants, constant("twice", np.array([1, 1, 2, 2]))], ["fine", "weighed"])


def test_every_operator_does_what_onnx_runtime_does(tmp_path):
    path = small_network(tmp_path / "net.onnx")
    images = RANDOM.normal(size=(1, 16, 16, 3)).astype(np.float32)
    fine, weighed = onnxruntime.InferenceSession(str(path)).run(None, {"image": images.transpose(0, 3, 1, 2)})
    ours = [ops.convert_to_numpy(value) for value in read_onnx_function(path)(images)]
    np.testing.assert_allclose(ours[0], fine, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours[1], weighed.transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-5)
    # the sides and the batch that the file names do not bind it
    larger = RANDOM.normal(size=(2, 32, 32, 3)).astype(np.float32)
    assert read_onnx_function(path)(larger)[0].shape == (2, 16, 16, 8)


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no ONNX file"):
        read_onnx_function(tmp_path / "absent.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x07not onnx")
    with pytest.raises(WeightsError, match=r"broken\.onnx"):
        read_onnx_function(broken)
    for number, node in enumerate(
        [
            helper.make_node("Softmax", ["image"], ["out"]),
            helper.make_node("Transpose", ["image"], ["out"], perm=[0, 1, 3, 2]),
            helper.make_node("Conv", ["image", "k"], ["out"], dilations=[2, 2]),
            helper.make_node("Conv", ["image", "k"], ["out"], group=2),
            helper.make_node("Conv", ["image", "k"], ["out"], auto_pad="SAME_UPPER"),
            helper.make_node("MaxPool", ["image"], ["out"], kernel_shape=[2, 2], ceil_mode=1),
            helper.make_node("Resize", ["image", "", "half"], ["out"], mode="nearest"),
        ]
    ):
        constants = [constant("k", np.zeros((6, 3, 3, 3))), constant("half", np.array([1, 1, 0.5, 0.5]))]
        path = write(tmp_path / f"{number}.onnx", [node], constants, ["out"])
        with pytest.raises(WeightsError, match=node.op_type) as caught:
            read_onnx_function(path)
        assert "known are Add" in caught.value.hint


def test_axes_that_are_turned_already_are_not_turned_again(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 2, 3, 1]),
        helper.make_node("Concat", ["turned", "turned"], ["out"], axis=-1),
    ]
    with pytest.raises(WeightsError, match="Concat"):
        read_onnx_function(write(tmp_path / "net.onnx", nodes, [], ["out"]))
