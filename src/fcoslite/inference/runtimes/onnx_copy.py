"""The ONNX file of a weights file: it lies beside it, is made once, and never used when the weights have changed."""

import logging
from pathlib import Path
from typing import Literal

from fcoslite.errors import FcosliteError, WeightsError
from fcoslite.inference.about import about
from fcoslite.inference.runtimes.onnx import read_metadata
from fcoslite.models.facts import ExportFacts, read_facts
from fcoslite.models.header import model_settings
from fcoslite.models.presets import architecture
from fcoslite.storage.files import file_digest, replace_file
from fcoslite.storage.space import check_writable

logger = logging.getLogger("fcoslite.inference")


def onnx_copy(weights: Path) -> Path:
    """The ONNX file beside a weights file, made if it is missing or was made of other weights.

    Raises:
        WeightsError: The weights cannot be used.
        FcosliteError: It cannot be made: packages are missing, the folder is read-only, or another file has its name.
    """
    if not weights.is_file():
        raise WeightsError(f"no weights file at {weights}", "check the path")
    path = weights.with_suffix(".onnx")
    if path.exists():
        try:
            facts = read_facts(read_metadata(path), path)
        except WeightsError as error:
            message = f"{path} is not the ONNX copy of {weights.name}: {error.message}"
            raise FcosliteError(message, "move it away") from None
        if facts.precision == "int8" or facts.nms or facts.batch not in (1, None) or facts.step is None:
            raise FcosliteError(f"{path} is an export of another kind", f"name it: --weights {path}")
        if facts.weights_sha256 == file_digest(weights):
            return path
    check_writable(path, "copy the weights to a folder of yours, or take --engine keras", folder=False)
    logger.info("writing %s, once, so that ONNX Runtime can run %s; this takes half a minute", path, weights.name)
    write_onnx(weights, path, "float32")
    return path


def write_onnx(weights: Path, path: Path, precision: Literal["float32", "float16"]) -> None:
    """Make an ONNX file of a weights file, with the thresholds of the config beside it.

    Raises:
        WeightsError: The weights cannot be used.
        FcosliteError: The packages that convert are not installed.
    """
    from fcoslite.machine.backend import load_backend

    load_backend()
    from fcoslite.export.onnx import to_onnx
    from fcoslite.models.weights import load_detector

    detector, _ = load_detector(weights, free_sides=True)
    replace_file(path, to_onnx(detector, facts_of(weights, precision)).SerializeToString())


def facts_of(weights: Path, precision: Literal["float32", "float16", "int8"]) -> ExportFacts:
    """What an ONNX file of free sides that is made of a weights file says of itself.

    Raises:
        WeightsError: The weights cannot be used.
    """
    import fcoslite

    known = about(weights)
    return ExportFacts(
        step=known.step,
        strides=architecture(model_settings(weights)).strides,
        version=fcoslite.__version__,
        weights_sha256=file_digest(weights),
        precision=precision,
        classes=known.class_names,
        image_size=known.image_size,
        evaluate=known.settings.evaluate,
        webcam=known.settings.webcam,
    )
