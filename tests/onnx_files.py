"""Small ONNX files whose outputs are known."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


def write_model(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[str],
    shape: Sequence[int | str],
    dtype: str = "float32",
    constants: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """A file with one input, `images`."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("images", TYPES[dtype], shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    # versions that older ONNX Runtimes read
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for output, name in zip(model.graph.output, outputs, strict=True):
        value = (constants or {}).get(f"{name}.value")
        kind = TensorProto.FLOAT if value is None else helper.np_dtype_to_tensor_dtype(value.dtype)
        output.CopyFrom(helper.make_tensor_value_info(name, kind, None))
    onnx.save(model, str(path))
    return path


def constant_model(
    path: Path, outputs: Mapping[str, np.ndarray], shape: Sequence[int | str], dtype: str = "float32"
) -> Path:
    """A file that gives the same whatever it is shown."""
    constants = {f"{name}.value": value for name, value in outputs.items()}
    nodes = [helper.make_node("Identity", [f"{name}.value"], [name]) for name in outputs]
    return write_model(path, nodes, list(outputs), shape, dtype, constants)


def bright_spot_model(path: Path, size: int, fixed: bool = False) -> Path:
    """A dense detector, NHWC maps of strides 8 and 16: score logit, then 6 pixels to every side.

    A cell is a box if its mean is above half of 255: a logit of (mean - 127.5) / 10.

    Args:
        path: To write.
        size: Of the input, which the file fixes, pixels.
        fixed: A Reshape in it has the size's numbers, too.
    """
    nodes, outputs = [], []
    constants = {
        "mean": np.full((1, 3, 1, 1), 1 / 3, np.float32),
        "shift": np.full((1, 1, 1, 1), 127.5, np.float32),
        "tenth": np.full((1, 1, 1, 1), 0.1, np.float32),
        "zero": np.zeros((4, 1, 1, 1), np.float32),
        "six": np.full((4,), 6, np.float32),
    }
    for stride in (8, 16):
        name = str(stride)
        nodes += [
            helper.make_node("AveragePool", ["images"], [f"p{name}"], kernel_shape=[stride] * 2, strides=[stride] * 2),
            helper.make_node("Conv", [f"p{name}", "mean"], [f"g{name}"]),
            helper.make_node("Sub", [f"g{name}", "shift"], [f"c{name}"]),
            helper.make_node("Mul", [f"c{name}", "tenth"], [f"l{name}"]),
            helper.make_node("Conv", [f"g{name}", "zero", "six"], [f"d{name}"]),
            helper.make_node("Concat", [f"l{name}", f"d{name}"], [f"a{name}"], axis=1),
            helper.make_node("Transpose", [f"a{name}"], [f"t{name}"], perm=[0, 2, 3, 1]),
        ]
        if fixed:
            constants[f"r{name}"] = np.array([1, size // stride, size // stride, 5], np.int64)
            nodes.append(helper.make_node("Reshape", [f"t{name}", f"r{name}"], [f"maps{name}"]))
        else:
            nodes.append(helper.make_node("Identity", [f"t{name}"], [f"maps{name}"]))
        outputs.append(f"maps{name}")
    return write_model(path, nodes, outputs, [1, 3, size, size], constants=constants)


BRIGHT_SPOT = """\
classes: {person: 0}
input: {layout: nchw, channels: rgb, letterbox: top-left, pad: 0}
dense:
  layout: nhwc
  strides: [8, 16]
  first_point: 0.5
  score_channel: 0
  activation: sigmoid
  box_channel: 1
  box: sides-pixels
"""
