"""An ONNX file that fixes its image size, made to take another one."""

from pathlib import Path
from typing import Any

from fcoslite.errors import FcosliteError, WeightsError


def with_free_size(path: Path, height_axis: int) -> bytes:
    """The network of a file, with names in place of the height and width that its input fixes.

    Whether it can then be run at another size shows when it is: a network of convolutions can, one with a Reshape to
    the numbers of its size cannot.

    Args:
        path: The ONNX file.
        height_axis: Of the input; the width is the next.

    Raises:
        WeightsError: The file is no ONNX.
        FcosliteError: The package onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        hint = "pip install onnx, or leave --size out"
        raise FcosliteError(f"{path} fixes its image size, and to change it the package onnx is needed", hint) from None
    try:
        model: Any = onnx.load(str(path))
        height, width = model.graph.input[0].type.tensor_type.shape.dim[height_axis : height_axis + 2]
    except Exception as error:  # protobuf has errors of its own
        raise WeightsError(f"{path} is no ONNX file: {type(error).__name__}", "check the path") from None
    height.dim_param, width.dim_param = "height", "width"
    # what it says of the shapes further in holds for the old size
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            dimension.Clear()
    content: bytes = model.SerializeToString()
    return content
