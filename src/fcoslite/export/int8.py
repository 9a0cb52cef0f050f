"""An ONNX detector whose convolutions are in 8-bit integers."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.export.onnx import with_facts
from fcoslite.models.facts import ExportFacts


def to_int8(model: Any, facts: ExportFacts, images: Iterable[np.ndarray]) -> Any:
    """Quantise a float32 ONNX detector; weights by output channel, activations by the range they have on images.

    The last convolution of each output, and what follows it, stay in float: a box is a distance of up to hundreds of
    pixels from its location, of which 256 steps are too few, and most scores are near 0.

    Weights have 7 bits: processors with AVX2 and without VNNI add two products of 8 bits in 16, where they overflow.

    Args:
        model: From `to_onnx`.
        facts: Of the result.
        images: Letterboxed, [1, H, W, 3] uint8, such as the detector will see; at least one.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._images: Iterator[np.ndarray] = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._images, None)
            if image is None:
                return None
            if facts.layout == "yolo":
                image = image.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            return {"images": np.repeat(image, facts.batch or 1, axis=0)}

    import onnx

    with tempfile.TemporaryDirectory() as folder:
        whole, prepared, done = (Path(folder) / f"{name}.onnx" for name in ("whole", "prepared", "done"))
        onnx.save(model, str(whole))
        before = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it tells of every operator that has no integer form
        try:
            quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(done),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                reduce_range=True,
                nodes_to_exclude=_outputs(onnx.load(str(prepared))),
            )
        finally:
            logging.root.setLevel(before)
        return with_facts(onnx.load(str(done)), facts)


def _outputs(model: Any) -> list[str]:
    """Names of the last convolutions on every way to an output, and of all nodes after them."""
    takers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    names = []
    before_convolution: dict[str, bool] = {}  # by a node's name
    for node in reversed(model.graph.node):  # they are sorted
        after = [taker for name in node.output for taker in takers.get(name, [])]
        before_convolution[node.name] = any(
            taker.op_type == "Conv" or before_convolution[taker.name] for taker in after
        )
        if not before_convolution[node.name]:
            names.append(node.name)
    return names
