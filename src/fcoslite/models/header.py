"""What a weights file says of its detector, read without building it: Keras is not needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcoslite.config.load import make_settings
from fcoslite.config.settings import ModelSettings
from fcoslite.errors import ConfigError, WeightsError
from fcoslite.storage.arrays import read_header


def model_settings(path: Path) -> ModelSettings:
    """The model settings that a weights file was saved with.

    Raises:
        WeightsError: The file cannot be used.
    """
    return model_of(read_header(path), path)


def model_of(header: Mapping[str, Any], path: Path) -> ModelSettings:
    """The model settings in a weights file's header.

    Raises:
        WeightsError: There are none that can be used.
    """
    if header.get("kind") != "weights":
        raise WeightsError(f"{path} does not hold the weights of a detector", "take best.npz or last.npz of a run")
    try:
        settings = make_settings({"model": header.get("model")}, origin=str(path)).model
    except ConfigError as error:
        raise WeightsError(f"{path} names a model we cannot build: {error.message}", error.hint) from None
    # a weights file must not decide which other files are read here
    return settings.model_copy(update={"backbone_weights": None})
