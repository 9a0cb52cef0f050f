"""Which settings each command listens to: a `--set` that would change nothing is refused, not passed over."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from fcoslite.config.load import parse_override
from fcoslite.errors import ConfigError

ALWAYS = ""
ON_RECORDS = "on records"
BY_KERAS = "with --engine keras on records"
WITH_CONDITIONS = "with --conditions"
WITH_CHUNK = "with --chunk"
WITH_TEACHER = "with --teacher"
WITHOUT_PLACE = "without --records and --data"

_TRAINING = {
    **dict.fromkeys(("name", "seed", "checkpoint_minutes", "loss", "augment", "data", "compute"), ALWAYS),
    # kept with the weights, for whoever uses them
    **dict.fromkeys(("evaluate", "webcam", "workspace"), ALWAYS),
    "loss.teacher_weight": WITH_TEACHER,
    "data.shuffle_buffer": ON_RECORDS,
    "data.cache_gb": ON_RECORDS,
    "data.chunk_records": WITH_CHUNK,
    "compute.prefetch": ON_RECORDS,
    "workspace.records": WITHOUT_PLACE,
}

# command -> section, or a key that is unlike its section -> when it listens
LISTENERS: Mapping[str, Mapping[str, str]] = {
    "train": {**_TRAINING, "model": ALWAYS, "train": ALWAYS},
    "finetune": {**_TRAINING, "model.image_size": ALWAYS, "finetune": ALWAYS},
    "eval": {
        "evaluate": ALWAYS,
        "webcam.score": WITH_CONDITIONS,
        "loss": BY_KERAS,
        "model.image_size": ALWAYS,
        "data.validation_records": ON_RECORDS,
        "data.cache_gb": ON_RECORDS,
        "compute.workers": ALWAYS,
        "compute.prefetch": ON_RECORDS,
        "compute.compile": BY_KERAS,
        "workspace.runs": ALWAYS,
        "workspace.records": WITHOUT_PLACE,
    },
    "eval --visits": {
        "webcam.iou": ALWAYS,
        "webcam.score": ALWAYS,
        "model.image_size": ALWAYS,
        "compute.workers": ALWAYS,
        "compute.compile": BY_KERAS,
        "workspace.runs": ALWAYS,
    },
}

# why not, where it is not plain
_REASONS = {
    ("finetune", "model"): "the weights bring their model",
    ("finetune", "train"): "its schedule is finetune.*",
    ("train", "finetune"): "its schedule is train.*",
    ("eval", "model"): "the weights bring their model",
    ("eval", "compute.batch_size"): "it has a flag, --batch-size",
    ("eval --visits", "model"): "the weights bring their model",
    ("eval --visits", "compute.batch_size"): "it has a flag, --batch-size",
    ("eval --visits", "evaluate"): "boxes are chosen as by detect and webcam, its settings are webcam.*",
}


def check_overrides(command: str, overrides: Sequence[str], circumstances: Collection[str]) -> None:
    """Refuse overrides that a command would not listen to.

    Args:
        command: `train`, `finetune`, `eval` or `eval --visits`.
        overrides: `section.key=value`, as of --set.
        circumstances: Those of the constants above that apply.

    Raises:
        ConfigError: One would change nothing.
    """
    listens = LISTENERS[command]
    for key in (key for override in overrides for key in overridden_keys(override)):
        section = key.partition(".")[0]
        when = listens.get(key, listens.get(section))
        if when is None:
            reason = _REASONS.get((command, key)) or _REASONS.get((command, section))
            uses = f"it uses {', '.join(listens)}"
            raise ConfigError(f"--set {key}: {command} does not use it", f"leave it out: {reason or uses}")
        if when != ALWAYS and when not in circumstances:
            raise ConfigError(f"--set {key}: {command} uses it only {when}", "leave it out")


def overridden_keys(override: str) -> Iterator[str]:
    """The settings that an override names, by `section.key`."""
    return _keys(parse_override(override), "")


def _keys(tree: Mapping[str, Any], before: str) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"
