"""Every `--set` is obeyed or refused."""

from typing import Any

import pytest

from fcoslite.config.listeners import ALWAYS, LISTENERS, check_overrides, overridden_keys
from fcoslite.config.settings import Settings
from fcoslite.errors import ConfigError

SETTINGS = Settings().flat()


@pytest.mark.parametrize("command", LISTENERS)
def test_the_table_knows_every_setting(command: str) -> None:
    listens = LISTENERS[command]
    assert set(listens) <= {*SETTINGS, *(key.partition(".")[0] for key in SETTINGS)}
    for key, value in SETTINGS.items():
        override = f"{key}={'null' if value is None else value}"
        assert list(overridden_keys(override)) == [key]
        when = listens.get(key, listens.get(key.partition(".")[0]))
        if when is None:
            with pytest.raises(ConfigError) as caught:
                check_overrides(command, [override], set())
            assert caught.value.message == f"--set {key}: {command} does not use it" and caught.value.hint
            continue
        check_overrides(command, [override], {when})
        if when != ALWAYS:
            with pytest.raises(ConfigError, match=f"{command} uses it only {when}"):
                check_overrides(command, [override], set())


@pytest.mark.parametrize(
    ("command", "override", "told"),
    [
        ("eval", "train.epochs=5", "it uses evaluate"),
        ("eval", "model.preset=lite", "the weights bring their model"),
        ("eval", "compute.batch_size=8", "--batch-size"),
        ("eval", "seed=1", "it uses evaluate"),
        ("finetune", "train.lr_max=1", "finetune.*"),
        ("finetune", "model.classes=[person]", "the weights bring their model"),
        ("train", "finetune={epochs: 3}", "train.*"),
    ],
)
def test_the_reason_is_told(command: str, override: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_overrides(command, [override], set())
    assert told in (caught.value.hint or "")


def test_a_section_names_all_that_is_in_it() -> None:
    tree: dict[str, Any] = {"train={epochs: 5, lr_max: 0.1}": ["train.epochs", "train.lr_max"], "seed=3": ["seed"]}
    for override, keys in tree.items():
        assert list(overridden_keys(override)) == keys
