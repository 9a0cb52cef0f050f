"""Pages of one HTML file that needs nothing beside it: from templates, which escape whatever they are given."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fcoslite.errors import ConfigError
from fcoslite.reports.charts import BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, WIDTH


@dataclass(frozen=True)
class Row:
    """A row of a table: a cell per column, and which of them are the best."""

    name: str
    cells: list[Any]
    best: frozenset[int] = frozenset()


def check_page_name(out: Path) -> None:
    """See that a file is named like a web page: nothing else, such as an input, is ever written over.

    Raises:
        ConfigError: It is not.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{out} is not named like a web page", "name one that ends in .html")


def render_page(template: str, **values: Any) -> str:
    """The text of a page; every value that the template names must be given."""
    from fcoslite import __version__

    environment = Environment(
        loader=PackageLoader("fcoslite.reports"),
        autoescape=True,  # names and values come from files
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"value": shown_value, "data_uri": _data_uri}
    environment.globals |= {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "bottom": BOTTOM}
    return environment.get_template(template).render(
        version=__version__, written=datetime.now(UTC), colours=COLOURS, **values
    )


def shown_value(value: Any) -> str:
    """A value of a cell, as a page shows it."""
    if value is None:
        return "–"
    if value == -1:  # COCO's sign that there was nothing to measure
        return "none"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list):
        return ", ".join(map(shown_value, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown_value(item)}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
