"""The OpenVINO engine: ONNX files, and OpenVINO's own, on Intel's and other processors."""

import functools
import threading
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.errors import FcosliteError, WeightsError
from fcoslite.inference.runtimes.runtime import Dense, ExportedRuntime
from fcoslite.models.facts import KEY, ExportFacts, read_facts
from fcoslite.storage.native_path import native_path

# where OpenVINO keeps what an ONNX file says of itself, and where `fcoslite export` writes it
_METADATA = ["framework", KEY]

_SHAPE_IS_WORTH = 16  # images of it in a row


class OpenVinoRuntime(ExportedRuntime):
    """A detector that fcoslite has written as ONNX or for OpenVINO (.xml with its .bin).

    Args:
        path: The file.
        threads: In all.
        at_once: Images that are to be given at the same time.

    Raises:
        WeightsError: The file cannot be run, or is not one of ours.
        FcosliteError: The package openvino is not installed.
    """

    def __init__(self, path: Path, threads: int, at_once: int = 1) -> None:
        openvino = _package()
        model = _read(path)
        super().__init__(_facts(model, path), f"OpenVINO {openvino.__version__.partition('-')[0]}, CPU", at_once)
        self._path, self._model = path, model
        self._options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": at_once,
            # else it computes in bfloat16 where it can, and boxes move by pixels
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._of_any_shape = self._compile(model)
        self._of_shape: tuple[tuple[int, ...], Any] | None = None
        self._last_shape: tuple[int, ...] = ()
        self._in_a_row = 0  # images of that shape
        self._choosing = threading.Lock()
        self._local = threading.local()  # a thread has its own request
        _check_ports(self._of_any_shape, self.facts, path)

    def __call__(self, images: np.ndarray) -> Dense:
        """Letterboxed images [1, H, W, 3] uint8 to boxes and scores."""
        images = self.filled(images)
        network = self._network(images.shape)
        if getattr(self._local, "network", None) is not network:
            self._local.network, self._local.request = network, network.create_infer_request()
        request = self._local.request
        request.infer({"images": images})
        # its memory is that of the next image, too
        return Dense(*(np.array(request.get_tensor(name).data[:1]) for name in ("boxes", "scores")))

    def _network(self, shape: tuple[int, ...]) -> Any:
        """The network for images of that shape.

        One that is compiled for a shape takes two thirds of the time of one for any, and half a second to compile. So
        a video gets its own, and a folder of photographs that differ does not.
        """
        if self.facts.step is None:
            return self._of_any_shape
        with self._choosing:
            if self._of_shape is not None and self._of_shape[0] == shape:
                return self._of_shape[1]
            self._in_a_row = self._in_a_row + 1 if shape == self._last_shape else 1
            self._last_shape = shape
            if self._in_a_row < _SHAPE_IS_WORTH:
                return self._of_any_shape
            model = self._model.clone()
            model.reshape(list(shape))
            self._of_shape = (shape, self._compile(model))
            return self._of_shape[1]

    def _compile(self, model: Any) -> Any:
        try:
            return _core().compile_model(model, "CPU", self._options)
        except RuntimeError as error:
            raise WeightsError(f"{self._path} cannot be run: {_last_line(error)}", "export it again") from None


def read_openvino_facts(path: Path) -> ExportFacts:
    """What a file for OpenVINO says of itself.

    Raises:
        WeightsError: It cannot be read, or is not one of ours.
        FcosliteError: The package openvino is not installed.
    """
    return _facts(_read(path), path)


def write_openvino(onnx_file: Path, path: Path, half: bool) -> None:
    """Write an ONNX file of ours as OpenVINO's .xml and .bin; `half`: weights in 16 bits."""
    openvino = _package()
    openvino.save_model(_read(onnx_file), str(path), compress_to_fp16=half)


def _package() -> Any:
    try:
        import openvino
    except ImportError:
        raise FcosliteError("the package openvino is not installed", 'pip install "fcoslite[openvino]"') from None
    return openvino


@functools.cache
def _core() -> Any:
    """The one Core of this process.

    Each sets a stack of its own for signals, and when it goes puts back that of before: of two, the second to go puts
    back what the first has freed, and the next signal, such as Ctrl-C, ends the process.
    """
    return _package().Core()


def _read(path: Path) -> Any:
    if not path.is_file():
        raise WeightsError(f"no file at {path}", "check the path")
    try:
        weights = path.with_suffix(".bin") if path.suffix.lower() == ".xml" else None
        if weights is None:
            with native_path(path) as text:
                return _core().read_model(text)
        with native_path(path) as text, native_path(weights) as beside:
            return _core().read_model(text, beside)
    except RuntimeError as error:
        hint = "is it whole, and its .bin beside it?" if path.suffix.lower() == ".xml" else "is it a whole file?"
        raise WeightsError(f"{path} cannot be read: {_last_line(error)}", hint) from None


def _facts(model: Any, path: Path) -> ExportFacts:
    try:
        document = str(model.get_rt_info(_METADATA).value)
    except RuntimeError:
        document = ""
    return read_facts({KEY: document}, path)


def _check_ports(compiled: Any, facts: ExportFacts, path: Path) -> None:
    side, classes = None if facts.step else facts.image_size, len(facts.classes)
    expected = {"images": ("u8", side, side, 3), "boxes": ("f32", 4), "scores": ("f32", classes)}
    given = {}
    for port in (*compiled.inputs, *compiled.outputs):
        # a port of a quantised file has several names
        name = next(iter(expected.keys() & port.get_names()), port.any_name)
        given[name] = (port.element_type.get_type_name(), *_sides(port))
    if given != expected:
        hint = "export it without --nms: fcoslite suppresses duplicates itself" if facts.nms else "export it again"
        raise WeightsError(f"{path} has not the input and outputs that it tells of", hint)


def _sides(port: Any) -> tuple[Any, ...]:
    shape = [side.get_length() if side.is_static else None for side in port.partial_shape]
    return tuple(shape[1:]) if len(shape) == 4 else (shape[-1],)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
