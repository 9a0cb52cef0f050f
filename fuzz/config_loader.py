"""Fuzz the reading of configs with atheris.

    python fuzz/config_loader.py fuzz/corpus/config -max_total_time=600

Either the input is refused with a ConfigError whose message can be printed, or it is a tree of settings that comes back
from its own YAML. The corpus holds configs, and values as `--set` takes them.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fcoslite", "yaml"]):
    from fcoslite.config.load import load_settings, make_settings
    from fcoslite.config.plain_yaml import read_yaml
    from fcoslite.config.settings import Settings
    from fcoslite.errors import ConfigError

KEYS = sorted(Settings().flat())
LONGEST_MESSAGE = 6000  # characters


def check(read: Callable[[], Settings]) -> None:
    """Read settings, or see them refused in words."""
    try:
        settings = read()
    except ConfigError as error:
        assert error.message.encode() and error.hint.encode()
        assert len(error.message) < LONGEST_MESSAGE, len(error.message)
    else:
        assert make_settings(read_yaml(settings.to_yaml(), "itself"), "itself") == settings


def fuzz(content: bytes) -> None:
    """One input, read as a file, as an override and as the value of a setting."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_bytes(content)
        check(lambda: load_settings(path))
    text = content.decode("utf-8", "surrogateescape")
    check(lambda: load_settings(None, [text]))
    key = KEYS[len(content) % len(KEYS)]
    check(lambda: load_settings(None, [f"{key}={text}"]))


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz)
    atheris.Fuzz()
