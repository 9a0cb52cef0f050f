"""A convolutional network in an ONNX file as a function of `keras.ops`: compiled with what surrounds it.

It knows the operators that one-stage detectors are made of. Feature maps are [B, H, W, C] here and [B, C, H, W] in the
file, so axes are renamed on the way. The batch, height and width that the file names do not matter.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from fcoslite.errors import ConfigError, WeightsError

Tensor = Any
OnnxFunction = Callable[[Tensor], list[Tensor]]

_AXES = {0: 0, 1: 3, 2: 1, 3: 2, -4: 0, -3: 3, -2: 1, -1: 2}  # of [B, C, H, W] in [B, H, W, C]
_TO_CHANNELS_LAST = [0, 2, 3, 1]


def read_onnx_function(path: Path) -> OnnxFunction:
    """Read a network whose input is an image.

    Returns:
        From its input as [B, H, W, C] to its outputs in the file's order, feature maps as [B, H, W, C], whichever way
        the file has them.

    Raises:
        WeightsError: The file is missing, no ONNX, or has an operator that is not known here.
        ConfigError: The package `onnx` is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper
    except ImportError:
        raise ConfigError("an ONNX file as teacher needs the package onnx", "pip install onnx") from None
    if not path.is_file():
        raise WeightsError(f"no ONNX file at {path}", "check the path")
    try:
        graph = onnx.load(str(path)).graph
    except (DecodeError, ValueError, OSError) as error:
        raise WeightsError(f"{path} cannot be read: {str(error)[:200]}", "is it a whole ONNX file?") from None
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    inputs = [one.name for one in graph.input if one.name not in constants]
    if len(inputs) != 1 or not graph.output:
        raise WeightsError(f"{path} has {len(inputs)} inputs", "a detector takes images and nothing else")
    nodes = []
    turned: set[str] = set()  # whose axes are those of the file already
    for node in graph.node:
        options = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Constant" and "value" in options:
            constants[node.output[0]] = numpy_helper.to_array(options["value"])
            continue
        given = [constants.get(name) for name in node.input]
        if turned & set(node.input) or not _known(node.op_type, options, given):
            told = f"{node.op_type} {options}" if node.op_type in _OPERATORS else node.op_type
            raise WeightsError(
                f"{path} has the operator {told[:200]}",
                f"known are {', '.join(sorted(_OPERATORS))}, and outputs straight from convolutions",
            )
        if node.op_type == "Transpose":
            turned.add(node.output[0])
        nodes.append((node.op_type, list(node.input), node.output[0], options))
    results = [one.name for one in graph.output]

    def run(images: Tensor) -> list[Tensor]:
        values: dict[str, Any] = {**constants, inputs[0]: images}
        for kind, names, result, options in nodes:
            values[result] = _OPERATORS[kind]([values[name] if name else None for name in names], options)
        return [values[name] for name in results]

    return run


def _known(kind: str, options: Mapping[str, Any], given: list[np.ndarray | None]) -> bool:
    if options.get("auto_pad", b"NOTSET") != b"NOTSET" or set(options.get("dilations", [1])) != {1}:
        return False
    if kind == "Transpose":
        return list(options.get("perm", ())) == _TO_CHANNELS_LAST  # which is how feature maps lie here
    if kind == "Conv":
        kernel, groups = given[1], options.get("group", 1)
        return kernel is not None and (groups == 1 or kernel.shape[:2] == (groups, 1))
    if kind == "MaxPool":
        return not options.get("ceil_mode", 0)
    if kind == "Resize":
        scales = given[2] if len(given) == 3 else None
        repeats = scales is not None and len(scales) == 4 and (scales[:2] == 1).all() and (scales % 1 == 0).all()
        nearest = options.get("mode", b"nearest") == b"nearest"
        return bool(repeats and nearest and options.get("coordinate_transformation_mode") != b"align_corners")
    return kind in _OPERATORS


def _convolve(inputs: list[Any], options: Mapping[str, Any]) -> Tensor:
    x, kernel, *bias = inputs
    groups, strides = options.get("group", 1), tuple(options.get("strides", (1, 1)))
    kernel = np.transpose(kernel, (2, 3, 1, 0))  # [out, in, h, w] -> [h, w, in, out]
    x = _pad(x, kernel.shape[:2], strides, options, 0.0)
    dtype = x.dtype
    if groups == 1:
        y = ops.conv(x, ops.cast(kernel, dtype), strides=strides, padding="valid")
    else:  # a kernel for each channel
        depthwise = np.transpose(kernel, (0, 1, 3, 2))  # [h, w, 1, out] -> [h, w, out, 1]
        y = ops.depthwise_conv(x, ops.cast(depthwise, dtype), strides=strides, padding="valid")
    return y + ops.cast(bias[0], dtype) if bias else y


def _max_pool(inputs: list[Any], options: Mapping[str, Any]) -> Tensor:
    window, strides = tuple(options["kernel_shape"]), tuple(options.get("strides", (1, 1)))
    x = _pad(inputs[0], window, strides, options, -65504.0)  # the lowest of float16
    return ops.max_pool(x, window, strides=strides, padding="valid")


def _pad(x: Tensor, window: Any, strides: Any, options: Mapping[str, Any], value: float) -> Tensor:
    top, left, bottom, right = options.get("pads", (0, 0, 0, 0))
    if not top + left + bottom + right:
        return x
    return ops.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]], constant_values=value)


def _enlarge(inputs: list[Any], options: Mapping[str, Any]) -> Tensor:
    x, scales = inputs[0], inputs[2]
    height, width = (int(factor) for factor in scales[2:])
    return ops.repeat(ops.repeat(x, height, axis=1), width, axis=2)


def _hard_sigmoid(inputs: list[Any], options: Mapping[str, Any]) -> Tensor:
    return ops.clip(options.get("alpha", 0.2) * inputs[0] + options.get("beta", 0.5), 0.0, 1.0)


def _with(operation: Callable[[Tensor, Tensor], Tensor]) -> Callable[[list[Any], Mapping[str, Any]], Tensor]:
    def apply(inputs: list[Any], options: Mapping[str, Any]) -> Tensor:
        dtype = next((value.dtype for value in inputs if not isinstance(value, np.ndarray)), np.float32)
        one, other = (_channels_last(value, dtype) for value in inputs)
        return operation(one, other)

    return apply


def _channels_last(value: Any, dtype: Any) -> Any:
    """A constant of the file, such as [C, 1, 1] or a number, as it is applied to a feature map of that dtype here."""
    if not isinstance(value, np.ndarray):
        return value
    four = value.reshape((1,) * (4 - value.ndim) + value.shape)
    return ops.cast(np.transpose(four, _TO_CHANNELS_LAST), dtype)


_OPERATORS: dict[str, Callable[[list[Any], Mapping[str, Any]], Tensor]] = {
    "Add": _with(lambda one, other: one + other),
    "Concat": lambda inputs, options: ops.concatenate(inputs, axis=_AXES[options["axis"]]),
    "Conv": _convolve,
    "GlobalAveragePool": lambda inputs, options: ops.mean(inputs[0], axis=(1, 2), keepdims=True),
    "HardSigmoid": _hard_sigmoid,
    "MaxPool": _max_pool,
    "Mul": _with(lambda one, other: one * other),
    "Relu": lambda inputs, options: ops.relu(inputs[0]),
    "Resize": _enlarge,
    "Sigmoid": lambda inputs, options: ops.sigmoid(inputs[0]),
    "Transpose": lambda inputs, options: inputs[0],
}
