"""The ONNX engine: ONNX files run by ONNX Runtime, on the CPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.errors import WeightsError
from fcoslite.inference.runtimes.runtime import Dense, ExportedRuntime
from fcoslite.models.facts import KEY, ExportFacts, read_facts
from fcoslite.storage.native_path import native_path

_NO_LOG = 4  # only what ends the process: the rest comes as an exception


@dataclass(frozen=True)
class Port:
    """An input or output of a file.

    Attributes:
        name: In the file.
        shape: A number where the file fixes a side, else a name or None.
        dtype: As ONNX Runtime writes it, such as `tensor(float)`.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: str


class OnnxNetwork:
    """A network in an ONNX file; it may be called from several threads at a time.

    Args:
        path: The file; named in errors.
        threads: For the work inside one call.
        content: What to run instead of the file's own bytes.
        optimize: Prepare the graph to be run fast; else it opens in a third of the time.

    Attributes:
        input: The one input.
        outputs: In the file's order.
        metadata: What the file says of itself, by key.

    Raises:
        WeightsError: The file is missing, no ONNX, of operations that ONNX Runtime does not know, or has more inputs.
    """

    def __init__(self, path: Path, threads: int, content: bytes | None = None, optimize: bool = True) -> None:
        import onnxruntime

        if not path.is_file():
            raise WeightsError(f"no ONNX file at {path}", "check the path")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # a thread that spins takes the core from those that decode and draw
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _NO_LOG
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            with native_path(path) as text:
                source = text if content is None else content
                self._session: Any = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # it has a class for every reason, and no common one
            hint = "is it a whole ONNX file, and of operations that ONNX Runtime knows?"
            raise WeightsError(f"{path} cannot be loaded: {_first_line(error)}", hint) from None
        self.path = path
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        inputs = [_port(item) for item in self._session.get_inputs()]
        if len(inputs) != 1:
            ours = "export it without --nms: fcoslite suppresses duplicates itself"
            hint = ours if KEY in self.metadata else "a detector takes images and nothing else"
            raise WeightsError(f"{path} has {len(inputs)} inputs", hint)
        self.input = inputs[0]
        self.outputs = tuple(_port(item) for item in self._session.get_outputs())

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name, in the file's order.

        Args:
            images: Of the shape and type of the input.

        Raises:
            WeightsError: The network cannot take them.
        """
        try:
            values = self._session.run(None, {self.input.name: images})
        except Exception as error:
            shape = "x".join(map(str, images.shape))
            message = f"{self.path} cannot be run on {images.dtype} {shape}: {_first_line(error)}"
            raise WeightsError(message, "another size or type may be what it was made for") from None
        return dict(zip((output.name for output in self.outputs), values, strict=True))


class OnnxRuntime(ExportedRuntime):
    """A detector that `fcoslite export` or `fcoslite` itself has written as ONNX.

    Args:
        path: The file.
        threads: For the work on one image.
        at_once: Images that are to be given at the same time; with as many cores as that and one thread each, more
            images are done than with all threads at one.

    Raises:
        WeightsError: The file cannot be run, or is not one of ours.
    """

    def __init__(self, path: Path, threads: int, at_once: int = 1) -> None:
        import onnxruntime

        self._network = OnnxNetwork(path, threads)
        facts = read_facts(self._network.metadata, path)
        super().__init__(facts, f"ONNX Runtime {onnxruntime.__version__}, CPU", at_once)
        _check_ports(self._network, self.facts)

    def __call__(self, images: np.ndarray) -> Dense:
        """Letterboxed images [1, H, W, 3] uint8 to boxes and scores."""
        outputs = self._network(self.filled(images))
        return Dense(outputs["boxes"][:1], outputs["scores"][:1])


def read_metadata(path: Path) -> dict[str, str]:
    """What an ONNX file says of itself, by key.

    Raises:
        WeightsError: As `OnnxNetwork` does.
    """
    return OnnxNetwork(path, threads=1, optimize=False).metadata


def _check_ports(network: OnnxNetwork, facts: ExportFacts) -> None:
    given = {port.name: (port.dtype, *_last_sides(port, count)) for port, count in _with_known_sides(network)}
    side = None if facts.step else facts.image_size
    expected = {
        "images": ("tensor(uint8)", side, side, 3),
        "boxes": ("tensor(float)", 4),
        "scores": ("tensor(float)", len(facts.classes)),
    }
    if given != expected:
        raise WeightsError(f"{network.path} has not the input and outputs that it tells of", "export it again")


def _with_known_sides(network: OnnxNetwork) -> list[tuple[Port, int]]:
    """The ports, and how many of their last sides a file of ours tells."""
    return [(network.input, 3), *((output, 1) for output in network.outputs)]


def _last_sides(port: Port, count: int) -> tuple[int | None, ...]:
    """A free one is None."""
    return tuple(side if isinstance(side, int) else None for side in port.shape[-count:])


def _port(item: Any) -> Port:
    return Port(item.name, tuple(item.shape), item.type)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
