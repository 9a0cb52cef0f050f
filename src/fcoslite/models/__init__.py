"""Backbone, neck, head, and the detectors made of them."""

from typing import Any


def __getattr__(name: str) -> Any:
    # Keras takes seconds to import; whoever needs only this package's settings shall not wait
    if name == "import_checkpoint":
        from fcoslite.models.original_checkpoint import import_checkpoint

        return import_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
