"""Exported files, told apart by their names."""

from pathlib import Path

from fcoslite.errors import WeightsError
from fcoslite.models.facts import KEY, ExportFacts, read_facts

ONNX, OPENVINO, LITERT = ".onnx", ".xml", ".tflite"


def is_exported(path: Path) -> bool:
    """Whether the name is that of an exported file, not of weights."""
    return path.suffix.lower() in (ONNX, OPENVINO, LITERT)


def exported_facts(path: Path) -> ExportFacts:
    """What an exported file says of itself.

    Raises:
        WeightsError: It cannot be read, or is not one of ours.
        FcosliteError: What reads it is not installed.
    """
    if path.suffix.lower() == OPENVINO:
        from fcoslite.inference.runtimes.openvino import read_openvino_facts

        return read_openvino_facts(path)
    if path.suffix.lower() == LITERT:
        from fcoslite.inference.runtimes.litert import read_litert_facts

        return read_litert_facts(path)
    from fcoslite.inference.runtimes.onnx import read_metadata

    return read_facts(read_metadata(path), path)


def is_our_onnx(path: Path) -> bool:
    """Whether a file is an ONNX file that fcoslite has made."""
    if path.suffix.lower() != ONNX or not path.is_file():
        return False
    from fcoslite.inference.runtimes.onnx import read_metadata

    try:
        return KEY in read_metadata(path)
    except WeightsError:  # whoever takes it for something else will say what is wrong with it
        return False
