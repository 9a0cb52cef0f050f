"""Settings read from YAML, and overridden by `a.b=value`.

A config file may open with `extends: NAME_OR_FILE`; its keys are laid over the named one's. Packaged configs
(`mission`, `cpu`, `vram-4gb`, ...) are found by name from anywhere.

Files of older versions are read as well: what was a setting once may have the value that it always has now,
and the former name of a config leads to it.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fcoslite.config.explain import explain
from fcoslite.config.plain_yaml import LONGEST, read_yaml
from fcoslite.config.settings import Settings
from fcoslite.errors import ConfigError, closest
from fcoslite.text import without_user

_LONGEST_CHAIN = 10  # of configs that extend each other

# what was a setting once: its default then, which old files hold, and the setting that is left for its purpose
_RETIRED: Mapping[str, tuple[float, str]] = {
    "augment.brightness_probability": (0.5, "augment.brightness"),
    "augment.noise_probability": (0.5, "augment.noise"),
    "evaluate.pre_filter": (0.001, "evaluate.score"),
    "evaluate.top_k": (1000, "evaluate.max_detections"),
    "webcam.pre_filter": (0.001, "webcam.score"),
    "webcam.top_k": (1000, "webcam.score"),
    "webcam.max_detections": (100, "webcam.score"),
}
_FORMER_NAMES = {"default": "small-data"}  # of packaged configs

_log = logging.getLogger("fcoslite")


def packaged_configs() -> list[str]:
    """Names of the configs installed with the package."""
    folder = resources.files("fcoslite") / "config" / "packaged"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def present_name(config: str) -> str:
    """The name that a packaged config has today."""
    return _FORMER_NAMES.get(config, config)


def load_settings(
    config: str | Path | None = None, overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None
) -> Settings:
    """Read a config and lay overrides over it.

    Args:
        config: A file, the name of a packaged config, or None for the defaults.
        overrides: `section.key=value`, the value in YAML.
        values: By `section.key`, taken as they are, and last.

    Raises:
        ConfigError: The file, a key or a value is not usable.
    """
    tree = _read_tree(str(config), seen=()) if config is not None else {}
    for override in overrides:
        tree = _merge(tree, _checked(parse_override(override), f"--set {_shown(override)}"))
    for key, value in (values or {}).items():
        tree = _merge(tree, _nest(key, value))
    return make_settings(tree, origin=str(config or "settings"))


def make_settings(tree: Mapping[str, Any], origin: str) -> Settings:
    """Check a plain tree of settings; `origin` is named in errors.

    Raises:
        ConfigError: A key or a value is not usable.
    """
    try:
        return Settings.model_validate(_without_retired(tree, origin))
    except ValidationError as error:
        raise explain(error, origin, _schema()) from None


def _without_retired(tree: Mapping[str, Any], origin: str) -> dict[str, Any]:
    left = dict(tree)
    for key, (value, instead) in _RETIRED.items():
        section, _, name = key.partition(".")
        part = left.get(section)
        if isinstance(part, Mapping) and name in part:
            if part[name] != value:
                raise ConfigError(
                    f"{origin}: {key} is no setting any more, and may only say {value}",
                    f"leave it out; what can be set is {instead}",
                )
            left[section] = {other: part[other] for other in part if other != name}
    return left


@cache
def _schema() -> dict[str, Any]:
    return Settings.model_json_schema()


def _checked(tree: dict[str, Any], origin: str) -> dict[str, Any]:
    """Each layer is checked by itself, so that an error names where the setting comes from."""
    make_settings(tree, origin)
    return tree


def _read_tree(config: str, seen: tuple[str, ...]) -> dict[str, Any]:
    path = Path(config)
    is_file = _is_file(path)
    name = present_name(config.removesuffix(".yaml"))
    if is_file:
        text = _read_text(path)
    elif name in packaged_configs():
        if name != config.removesuffix(".yaml"):
            _log.warning("the config '%s' is now called '%s'", config, name)
        text = (resources.files("fcoslite") / "config" / "packaged" / f"{name}.yaml").read_text("utf-8")
    else:
        hint = closest(config, packaged_configs()) or "packaged: " + ", ".join(packaged_configs())
        raise ConfigError(f"no config file or packaged config named '{config[:200]}'", hint)
    here = str(path.resolve()) if is_file else name
    if here in seen or len(seen) == _LONGEST_CHAIN:
        fault = "extends itself" if here in seen else f"is the end of a chain of more than {_LONGEST_CHAIN} configs"
        raise ConfigError(f"config '{config}' {fault}", f"chain: {' -> '.join([*seen, here])}")
    tree = read_yaml(text, config)
    if tree is None:  # an empty file
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{config} holds no settings", "a config is a tree of `key: value` lines")
    parent = tree.pop("extends", None)
    _checked(tree, config)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise ConfigError(f"{config}: extends must be text", "it names a packaged config, or a file beside this one")
    beside = path.parent / parent
    base = str(beside) if is_file and _is_file(beside) else parent
    return _merge(_read_tree(base, (*seen, here)), tree)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _read_text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read config {path}: {error}", "a config is a UTF-8 text file") from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def parse_override(override: str) -> dict[str, Any]:
    """The tree that `section.key=value` stands for; whether there is such a setting is not looked at.

    Raises:
        ConfigError: It is no override, or its value no YAML.
    """
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"'{_shown(override)}' is not an override", "write it as section.key=value")
    return _nest(key.strip(), read_yaml(text, f"--set {_shown(override)}"))


def _shown(override: str) -> str:
    """An override for a message: its value may be an address with a password."""
    key, separator, text = override.partition("=")
    return f"{without_user(key)}{separator}{without_user(text)}"[:100]


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value
