"""Flags beside --resume: they may say where things are and how the work is done, but not what is trained."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fcoslite.config.load import load_settings, present_name
from fcoslite.config.settings import Settings
from fcoslite.errors import ConfigError
from fcoslite.runs.run import Run

_log = logging.getLogger("fcoslite")

# no number of the result depends on these
_FREE_COMPUTE = ("workers", "prefetch", "memory_limit_mb")
_FREE = ("checkpoint_minutes", "workspace", "data.cache_gb", *(f"compute.{key}" for key in _FREE_COMPUTE))
# the run's own differ from what it was asked for: by its data, its machine, or a batch that was halved
_DECIDED = (
    "model.classes",
    "model.image_size",
    "compute.batch_size",
    "compute.accumulation",
    "compute.precision",
)
_MOVED = ("steps_per_epoch", "warmup_steps")


def settings_to_resume(run: Run, config: str | None, overrides: Sequence[str], values: Mapping[str, Any]) -> Settings:
    """The run's settings, with what was asked for anew as far as that changes no result.

    Args:
        run: The run.
        config: A config that was named; None if none was.
        overrides: `section.key=value`, as of --set.
        values: Settings that have flags of their own.

    Raises:
        ConfigError: Something else was asked for than the run has.
    """
    ours = run.settings()
    flags = load_settings(run.path / "config.yaml", overrides, values)
    asked = flags if config is None else load_settings(config, overrides, values)
    # `eval --write-score` may have changed the one, and weights to fine-tune bring the other
    sections = ("webcam.", "model.") if run.facts().get("verb") == "finetune" else ("webcam.",)
    decided = [key for key in ours.flat() if key in _DECIDED or key.endswith(_MOVED) or key.startswith(sections)]
    refused = [key for key in _differing(asked, ours) if key not in decided and not key.startswith(_FREE)]
    if refused:
        listed = "; ".join(f"{key} is {ours.flat()[key]}, not {asked.flat()[key]}" for key in refused[:5])
        raise ConfigError(
            f"--resume goes on with the settings of {run.name}: {listed}",
            "leave the other flags out, or start a new run",
        )
    for key in _differing(flags, ours):
        if key in decided:
            _log.warning("%s stays %s, as %s has it", key, ours.flat()[key], run.name)
    compute = {key: getattr(asked.compute, key) for key in _FREE_COMPUTE}
    return ours.model_copy(
        update={
            "checkpoint_minutes": asked.checkpoint_minutes,
            "workspace": asked.workspace,
            "compute": ours.compute.model_copy(update=compute),
            "data": ours.data.model_copy(update={"cache_gb": asked.data.cache_gb}),
        }
    )


def _differing(asked: Settings, ours: Settings) -> list[str]:
    values = ours.flat()
    return [key for key, value in asked.flat().items() if not _same(key, value, values[key], values)]


def _same(key: str, one: Any, other: Any, ours: Mapping[str, Any]) -> bool:
    """Whether two values of a setting do the same in our run: a run of an older version says some in other words."""
    if key == "name":
        return present_name(one) == present_name(other)
    if key == "finetune.keep":  # null leaves it to the data, which has decided
        return one is None or bool(one == other)
    if key.endswith(".early_stopping_epochs"):  # as many as there are epochs stop nothing
        epochs = ours[key.replace("early_stopping_epochs", "epochs")]
        return one == other or all(value is None or value >= epochs for value in (one, other))
    return bool(one == other)
