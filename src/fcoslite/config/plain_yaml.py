"""YAML as data and nothing else: no tags, no anchors, no key twice, and bounded in length and depth."""

from collections.abc import Hashable
from typing import Any

import yaml

from fcoslite.errors import ConfigError

LONGEST = 100_000  # characters; a complete config has 3,000
_DEEPEST = 10


class _PlainLoader(yaml.SafeLoader):
    """Refuses what configs do not need: aliases can make a few lines of YAML into more than memory holds."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if event.anchor is not None:
            raise yaml.composer.ComposerError(None, None, "anchors and aliases are not read", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, "tags are not read", event.start_mark)
        if self.depth == _DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"deeper than {_DEEPEST} levels", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if key.value in names if isinstance(key, yaml.ScalarNode) else False:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is there twice", key.start_mark)
            names.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(text: str, origin: str) -> Any:
    """Read one document.

    Args:
        text: The document.
        origin: Named in errors.

    Returns:
        Maps, lists, texts, numbers, dates, Booleans and None.

    Raises:
        ConfigError: It is not YAML, or more than data.
    """
    hint = "a config is a tree of `key: value` lines, indented by section"
    if len(text) > LONGEST:
        raise ConfigError(f"{origin} is longer than {LONGEST:,} characters", hint)
    try:
        return yaml.load(text, _PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{origin}{line} is not valid YAML: {error.problem or error.context}", hint) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # a date that is none, a number beyond all bounds
        raise ConfigError(f"{origin} is not valid YAML: {str(error).splitlines()[0]}", hint) from None
