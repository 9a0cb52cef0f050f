from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.config import Settings, load_settings, make_settings, packaged_configs
from fcoslite.errors import ConfigError

TIERS = ["vram-2gb", "vram-4gb", "vram-6gb", "vram-8gb", "vram-12gb", "vram-24gb", "vram-80gb", "cpu"]


def test_the_mission_config_is_the_defaults():
    assert load_settings("mission") == Settings()


def test_every_tier_keeps_the_effective_batch_of_16():
    for name in TIERS:
        compute = load_settings(name).compute
        assert compute.batch_size * compute.accumulation == 16, name


@pytest.mark.parametrize("name", packaged_configs())
def test_every_config_opens_with_what_it_is_for(name):
    settings = load_settings(name)
    assert settings.name == name
    path = Path(str(__import__("importlib.resources").resources.files("fcoslite"))) / "configs" / f"{name}.yaml"
    header = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
    for word in ("Purpose:", "Hardware:", "Memory:", "Duration:", "Command:"):
        assert any(word in line for line in header), f"{name} lacks {word}"


def test_overrides_win_and_take_numbers_as_people_write_them():
    settings = load_settings("cpu", ["train.lr_max=1e-4", "model.classes=[person, dog]", "seed=7"])
    assert settings.train.lr_max == 1e-4
    assert settings.model.classes == ("person", "dog")
    assert settings.seed == 7


def test_extends_merges_section_by_section(tmp_path):
    (tmp_path / "base.yaml").write_text("extends: cpu\nname: base\ntrain: {epochs: 3}\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nname: mine\ntrain: {lr_max: 0.5}\n")
    settings = load_settings(tmp_path / "mine.yaml")
    assert (settings.train.epochs, settings.train.lr_max, settings.compute.precision) == (3, 0.5, "float32")


@pytest.mark.parametrize(
    ("config", "overrides", "message", "hint"),
    [
        ("missoin", [], "missoin", "mission"),
        (None, ["train.lr_mx=1"], "train.lr_mx", "lr_max"),
        (None, ["trian.lr_max=1"], "trian", "train"),
        (None, ["train.epochs=0"], "train.epochs", ""),
        (None, ["train.epochs=many"], "train.epochs", ""),
        (None, ["model.preset=yolo"], "model.preset", ""),
        (None, ["train.lr_max"], "not an override", "section.key=value"),
        (None, ["a: [=1"], "a: [", ""),
    ],
)
def test_errors_name_the_key_and_the_way_out(config, overrides, message, hint):
    with pytest.raises(ConfigError) as caught:
        load_settings(config, overrides)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- 1\n", "no settings"),
        ("extends: self.yaml\n", "extends itself"),
        ("model: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_broken_files(tmp_path, text, message):
    path = tmp_path / "self.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(path)


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(path)


def test_yaml_round_trip():
    settings = load_settings("smoke", ["model.classes=[person]"])
    assert make_settings(yaml.safe_load(settings.to_yaml()), "text") == settings


@given(st.text(max_size=40))
def test_no_override_crashes(text):
    with suppress(ConfigError):
        load_settings(None, [text])
