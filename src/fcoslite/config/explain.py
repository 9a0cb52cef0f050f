"""A wrong setting in words: which one, what it is, what it may be."""

from collections.abc import Iterator, Mapping, Sequence
from reprlib import Repr
from typing import Any

from pydantic import ValidationError

from fcoslite.errors import ConfigError, closest
from fcoslite.text import without_user

_Schema = Mapping[str, Any]

_UNKNOWN = ("extra_forbidden", "invalid_key")


class _Short(Repr):
    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(without_user(x), level)  # it may be an address with a password


_short = _Short()
_short.maxstring = _short.maxother = 60


def explain(
    error: ValidationError, origin: str, schema: _Schema, hint: str = "docs/configuration.md lists all settings"
) -> ConfigError:
    """The error that says the first thing a check has found.

    Args:
        error: Of the check.
        origin: The file or flag that holds the setting.
        schema: The JSON schema of the settings.
        hint: Where to read what is allowed.
    """
    found = error.errors(include_url=False)
    # a misspelt key, rather than that the one meant is missing
    first = next((item for item in found if item["type"] in _UNKNOWN), found[0])
    path = _keys_on([str(part) for part in first["loc"]], schema)
    key = ".".join(path) or "a key"  # one that is not Unicode has no place
    if first["type"] in _UNKNOWN:
        known = [name for option in _options(_at(schema, path[:-1]), schema) for name in option.get("properties", ())]
        elsewhere = [name for name in _keys(schema, schema) if name.endswith(f".{path[-1]}")]
        guess = f"did you mean '{elsewhere[0]}'?" if elsewhere else closest(path[-1], known)
        names = "; ".join(filter(None, (guess, f"known: {', '.join(known)}")))
        return ConfigError(f"{origin}: unknown setting '{without_user(key)[:200]}'", names)
    part = _at(schema, path)
    value = first["input"]
    shown = "missing" if first["type"] == "missing" else _shown(value)
    message = f"{origin}: {key} is {shown}, and must be {_allowed(part, schema)}"
    if first["type"] == "value_error":
        message += f": {first['ctx']['error']}"
    choices = [str(choice) for option in _options(part, schema) for choice in _choices(option)]
    guess = closest(value[:200], choices) if isinstance(value, str) else ""
    return ConfigError(message, guess or hint)


def _keys_on(path: list[str], schema: _Schema) -> list[str]:
    """A path without the names that pydantic gives to alternatives: `keep`, not `keep.literal['auto']`."""
    parts = [_at(schema, path[:length]) for length in range(len(path))]
    nested = ("properties", "additionalProperties", "items", "prefixItems")
    return [
        name
        for name, part in zip(path, parts, strict=True)
        if any(key in option for option in _options(part, schema) for key in nested)
    ]


def _at(schema: _Schema, path: list[str]) -> _Schema:
    """The part of a schema that describes a key, or an item of a list."""
    part = schema
    for name in path:
        for option in _options(part, schema):
            named = option.get("properties", {}).get(name) or option.get("additionalProperties")
            part = named or next(iter(_items(option)), part)
    return part


def _keys(part: _Schema, schema: _Schema, prefix: str = "") -> Iterator[str]:
    for option in _options(part, schema):
        for name, inner in option.get("properties", {}).items():
            yield prefix + name
            yield from _keys(inner, schema, f"{prefix}{name}.")


def _options(part: _Schema, schema: _Schema) -> Iterator[_Schema]:
    """A part without its references and alternatives."""
    while "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    for option in part.get("anyOf", ()):
        yield from _options(option, schema)
    if "anyOf" not in part:
        yield part


def _items(part: _Schema) -> list[_Schema]:
    return [*part.get("prefixItems", ()), *([part["items"]] if "items" in part else ())]


def _allowed(part: _Schema, schema: _Schema) -> str:
    return ", or ".join(_describe(option, schema) for option in _options(part, schema))


def _describe(part: _Schema, schema: _Schema) -> str:
    if "const" in part:
        return str(part["const"])
    if "enum" in part:
        return "one of " + ", ".join(map(str, part["enum"]))
    kind = part.get("type")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(part)
    if kind == "array":
        size = _count(part.get("minItems", 0), part.get("maxItems"))
        return f"a list of {size}, each {_allowed(_items(part)[0], schema)}"
    if kind == "object" and "properties" not in part:
        return f"a section of names, each with {_allowed(part['additionalProperties'], schema)}"
    if kind == "object":
        return "a section: " + ", ".join(part.get("properties", ()))
    if kind == "string":
        like = f" like {part['pattern']}" if "pattern" in part else ""
        return f"text of {_count(part.get('minLength', 0), part.get('maxLength'))} characters{like}"
    return str(kind)


def _choices(part: _Schema) -> Sequence[Any]:
    return part["enum"] if "enum" in part else [part["const"]] if "const" in part else ()


_ENDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def _range(part: _Schema) -> str:
    ends = [f"{words} {part[name]:,}" for name, words in _ENDS.items() if name in part]
    return ", " + " and ".join(ends) if ends else ""


def _count(least: int, most: int | None) -> str:
    return f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most:,}"


def _shown(value: Any) -> str:
    try:
        return _short.repr(value)
    except ValueError:  # Python does not print numbers of many thousand digits
        return "a number of very many digits"
