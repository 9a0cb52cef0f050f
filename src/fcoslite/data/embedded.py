"""The photographs that are installed with the package."""

from importlib import resources
from pathlib import Path


def embedded_data() -> Path:
    """32 photographs with persons and without: images/, and annotations.json with all of COCO's classes."""
    return Path(str(resources.files("fcoslite") / "demo" / "photographs"))


def embedded_names() -> set[str]:
    """Their files, as COCO has named them."""
    return {path.name for path in (embedded_data() / "images").iterdir()}
