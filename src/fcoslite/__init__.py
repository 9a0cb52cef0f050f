"""fcoslite: train and run a lightweight anchor-free person detector on a small machine.

The names of `__all__` are imported when they are first asked for: the package itself imports nothing heavy.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcoslite.config.load import load_settings
    from fcoslite.data.extract.extract import extract
    from fcoslite.data.records.build import build_records
    from fcoslite.detections.detections import Detections
    from fcoslite.evaluation.evaluate import evaluate
    from fcoslite.inference.detector import Detector
    from fcoslite.training.loop import train

__all__ = ["Detections", "Detector", "build_records", "evaluate", "extract", "load_settings", "train"]
__version__ = version("fcoslite")

_MODULES = {
    "Detections": "fcoslite.detections.detections",
    "Detector": "fcoslite.inference.detector",
    "build_records": "fcoslite.data.records.build",
    "evaluate": "fcoslite.evaluation.evaluate",
    "extract": "fcoslite.data.extract.extract",
    "load_settings": "fcoslite.config.load",
    "train": "fcoslite.training.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
