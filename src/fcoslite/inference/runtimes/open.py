"""The engine that a detector is run on: chosen by the kind of its file and by what the user says."""

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from fcoslite.errors import ConfigError, FcosliteError, WeightsError, closest
from fcoslite.inference.runtimes.exported import LITERT, ONNX, OPENVINO, is_exported
from fcoslite.inference.runtimes.runtime import Runtime

Engine = Literal["auto", "keras", "onnx", "openvino", "litert"]
ENGINES: tuple[Engine, ...] = get_args(Engine)

_ENGINES_OF: dict[str, tuple[Engine, ...]] = {
    ONNX: ("auto", "onnx", "openvino"),
    OPENVINO: ("auto", "openvino"),
    LITERT: ("auto", "litert"),
}

_ENGINES_OF_WEIGHTS: tuple[Engine, ...] = ("auto", "onnx", "openvino", "keras")
_PACKAGES = {"keras": "keras", "onnx": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}

logger = logging.getLogger("fcoslite.inference")


def open_runtime(weights: Path, engine: Engine = "auto", many: bool = False) -> Runtime:
    """Load a detector on an engine.

    `auto` is ONNX Runtime: it starts in a twentieth of TensorFlow's time and is the faster of the two on a CPU, see
    docs/performance.md. Only where no ONNX file can be made of the weights it is Keras.

    Args:
        weights: A weights file, or one that was exported from it.
        engine: Which.
        many: Images will come in plenty, and may be worked on side by side; else each is to be done soon.

    Raises:
        WeightsError: The file cannot be used.
        ConfigError: The engine cannot run such a file.
        FcosliteError: What the engine needs is not installed.
    """
    check_engine(weights, engine)
    if engine == "keras":
        return _open_keras(weights)
    if is_exported(weights):
        return _open_exported(weights, engine, many)
    from fcoslite.inference.runtimes.onnx_copy import onnx_copy

    try:
        return _open_exported(onnx_copy(weights), engine, many)
    except WeightsError:
        raise
    except FcosliteError as error:
        if engine != "auto":
            raise
        logger.info("%s; Keras runs it", error.message)
        return _open_keras(weights)


def parse_engine(text: str) -> Engine:
    """The engine of that name.

    Raises:
        ConfigError: There is none.
    """
    for engine in ENGINES:
        if engine == text:
            return engine
    raise ConfigError(
        f"no engine is called '{text[:100]}'", closest(text, list(ENGINES)) or f"one of {', '.join(ENGINES)}"
    )


def check_engine(weights: Path, engine: Engine) -> None:
    """Refuse an engine that cannot run such a file.

    Raises:
        ConfigError: It cannot.
    """
    runs = _ENGINES_OF.get(weights.suffix.lower(), _ENGINES_OF_WEIGHTS)
    if engine not in runs:
        raise ConfigError(f"{weights} does not run on {engine}", _hint(engine, runs))


def available_engines(weights: Path) -> tuple[Engine, ...]:
    """The engines that can run such a file and are installed, `auto` not among them."""
    runs = _ENGINES_OF.get(weights.suffix.lower(), _ENGINES_OF_WEIGHTS)
    return tuple(engine for engine in runs if engine != "auto" and find_spec(_PACKAGES[engine]) is not None)


def _hint(engine: Engine, runs: tuple[Engine, ...]) -> str:
    if engine == "litert":
        return "it runs .tflite files: fcoslite export --format litert"
    return f"leave --engine out; it may be {', '.join(runs)}"


def _open_exported(path: Path, engine: Engine, many: bool) -> Runtime:
    cores = os.cpu_count() or 1
    if engine == "openvino" or path.suffix.lower() == OPENVINO:
        from fcoslite.inference.runtimes.openvino import OpenVinoRuntime

        return OpenVinoRuntime(path, threads=cores, at_once=cores if many else 1)
    if path.suffix.lower() == LITERT:
        from fcoslite.inference.runtimes.litert import LiteRtRuntime

        return LiteRtRuntime(path, threads=1, at_once=cores) if many else LiteRtRuntime(path, threads=cores)
    from fcoslite.inference.runtimes.onnx import OnnxRuntime

    # two threads at one image wait for each other at every layer, two images do not
    return OnnxRuntime(path, threads=1, at_once=cores) if many else OnnxRuntime(path, threads=cores)


def _open_keras(weights: Path) -> Runtime:
    from fcoslite.machine.backend import load_backend

    load_backend()
    from fcoslite.inference.runtimes.keras import KerasRuntime
    from fcoslite.models.weights import load_detector

    return KerasRuntime(load_detector(weights, free_sides=True)[0])
