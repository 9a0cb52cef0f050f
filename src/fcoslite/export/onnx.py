"""A detector as an ONNX file."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.errors import FcosliteError
from fcoslite.export.keras_export import keras_export
from fcoslite.fcos.detect_graph import DetectGraph
from fcoslite.models.detector import Detector
from fcoslite.models.facts import KEY, ExportFacts

_OPSET = 17  # ONNX Runtime 1.12 and OpenVINO 2022.3 read it
_SMALL = 1000  # values of an array that is not worth halving


def to_onnx(detector: Detector, facts: ExportFacts) -> Any:
    """Make an `onnx.ModelProto` of a detector; see `ExportFacts` for its input and outputs.

    With `facts.precision` float16 the weights are stored in half as many bytes and cast when the file is loaded: all
    computation is in float32.

    Raises:
        FcosliteError: The packages that convert are not installed.
    """
    try:
        import onnx
        import tf2onnx  # noqa: F401  # what Keras converts with
    except ImportError:
        message = "to write ONNX files the packages onnx and tf2onnx are needed"
        raise FcosliteError(message, "pip install onnx tf2onnx") from None
    graph = DetectGraph(detector)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "detector.onnx"
        keras_export(graph, file, "onnx", detector, facts.batch, opset_version=_OPSET)
        model = onnx.load(str(file))
    _name_ports(model, facts)
    if facts.precision == "float16":
        _store_in_half(model)
    return with_facts(model, facts)


def with_facts(model: Any, facts: ExportFacts) -> Any:
    """The model, with these facts in its metadata; checked."""
    import onnx

    model.producer_name, model.producer_version = "fcoslite", facts.version
    onnx.helper.set_model_props(model, {KEY: facts.model_dump_json()})
    onnx.checker.check_model(model)
    return model


def _name_ports(model: Any, facts: ExportFacts) -> None:
    """Call the input `images`, and the outputs `boxes` and `scores`: Keras gives them in the order of the alphabet."""
    names = {model.graph.input[0].name: "images"}
    names |= dict(zip([output.name for output in model.graph.output], ("boxes", "scores"), strict=True))
    if facts.step is not None:
        _, height, width, _ = model.graph.input[0].type.tensor_type.shape.dim
        height.dim_param, width.dim_param = "height", "width"
    for port in (*model.graph.input, *model.graph.output):
        port.name = names[port.name]
        if facts.batch is None:
            port.type.tensor_type.shape.dim[0].dim_param = "batch"
    for node in model.graph.node:
        for each in (node.input, node.output):
            each[:] = [names.get(name, name) for name in each]


def _store_in_half(model: Any) -> None:
    """Store large weights as float16; a Cast follows each, which engines compute once, when they load the file."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weights in model.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype != np.float32 or values.size < _SMALL or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = weights.name
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
