"""What is known of a detector before it is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.inference.runtimes.exported import exported_facts, is_exported
from fcoslite.models.header import model_settings
from fcoslite.models.presets import architecture, free_step
from fcoslite.runs.find_weights import config_of


@dataclass(frozen=True)
class About:
    """Facts of a detector.

    Attributes:
        class_names: By class id - 1.
        image_size: Side of the letterboxed image, pixels.
        step: What the sides of its input are multiples of, pixels; `image_size` itself where they are that.
        settings: It was trained with; of an exported file the thresholds alone are.
    """

    class_names: tuple[str, ...]
    image_size: int
    step: int
    settings: Settings


def about(weights: Path, overrides: Sequence[str] = ()) -> About:
    """Read what a weights file, or a file exported from one, says of its detector.

    Args:
        weights: The file.
        overrides: Of its settings, `section.key=value`.

    Raises:
        WeightsError: The file cannot be used.
        ConfigError: The config beside it, or an override, cannot be used.
    """
    if is_exported(weights):
        facts = exported_facts(weights)
        parts = {"evaluate": facts.evaluate, "webcam": facts.webcam}
        own = [f"{name}.{key}={value}" for name, part in parts.items() for key, value in part.model_dump().items()]
        size = facts.image_size
        return About(facts.classes, size, facts.step or size, load_settings(None, [*own, *overrides]))
    model = model_settings(weights)
    step = free_step(architecture(model).strides)
    return About(model.classes or (), model.image_size, step, load_settings(config_of(weights), overrides))
