"""Classes as a user names them."""

import re
import unicodedata
from collections.abc import Collection, Sequence

from fcoslite.errors import ConfigError, closest


def chosen_names(texts: Sequence[str], known: Collection[str]) -> list[str]:
    """The names in what was asked for: a text that is no class's name is several, with commas between.

    Args:
        texts: Such as `person`, `cat,dog`, or `person, standing`, if there is such a class.
        known: Names of the classes that there are.

    Returns:
        Names in the order in which they were asked for, each once; one that is not known may be among them.
    """
    names: list[str] = []
    for text in texts:
        names += [text] if text in known else [name.strip() for name in text.split(",") if name.strip()]
    return list(dict.fromkeys(names))


def choose_names(texts: Sequence[str], known: Collection[str], owner: str) -> list[str]:
    """The same, all of them known, and at least one.

    Args:
        texts: As `chosen_names` takes them.
        known: Names of the classes that there are.
        owner: What has these classes, for messages.

    Raises:
        ConfigError: No such class, or none at all.
    """
    chosen = chosen_names(texts, known)
    if not chosen:
        raise ConfigError("no class is chosen", "name at least one with --classes")
    for name in chosen:
        if name not in known:
            names, near = listed(list(known)), closest(name, list(known))
            raise ConfigError(f"{owner} has no class '{name}'", f"{near} (it has: {names})" if near else names)
    return chosen


def look_alikes(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ in case, in spaces, underscores and hyphens, or in the form of Unicode only."""
    seen: dict[str, str] = {}
    pairs = []
    for name in names:
        form = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold())
        if (other := seen.setdefault(form, name)) != name:
            pairs.append((other, name))
    return pairs


def listed(names: Sequence[str]) -> str:
    """Names for a message; one that has a comma in it is quoted."""
    return ", ".join(f"'{name}'" if "," in name else name for name in names)
