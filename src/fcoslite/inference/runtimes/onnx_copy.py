"""The ONNX file of a weights file: it lies beside it, is made once, and never used when the weights have changed."""

import logging
from pathlib import Path
from typing import Literal

from fcoslite.config.load import load_settings
from fcoslite.errors import FcosliteError, WeightsError
from fcoslite.inference.runtimes.onnx import OnnxNetwork
from fcoslite.models.facts import ExportFacts, read_facts
from fcoslite.runs.find_weights import config_of
from fcoslite.storage.files import file_digest
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
            facts = read_facts(OnnxNetwork(path, threads=1).metadata, path)
        except WeightsError as error:
            message = f"{path} is not the ONNX copy of {weights.name}: {error.message}"
            raise FcosliteError(message, "move it away") from None
        if facts.precision == "int8":
            raise FcosliteError(f"{path} is of lower precision than {weights.name}", f"name it: --weights {path}")
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
    import fcoslite
    from fcoslite.export.onnx import export_onnx
    from fcoslite.models.weights import load_detector

    detector, _ = load_detector(weights)
    settings = load_settings(config_of(weights))
    facts = ExportFacts(
        version=fcoslite.__version__,
        weights_sha256=file_digest(weights),
        precision=precision,
        classes=detector.class_names,
        image_size=detector.image_size,
        evaluate=settings.evaluate,
        webcam=settings.webcam,
    )
    export_onnx(detector, facts, path)
