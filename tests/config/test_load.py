from contextlib import suppress
from importlib import resources
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.config.load import load_settings, make_settings, packaged_configs
from fcoslite.config.settings import Settings
from fcoslite.errors import ConfigError

TIERS = ["vram-2gb", "vram-4gb", "vram-6gb", "vram-8gb", "vram-12gb", "vram-24gb", "vram-80gb", "cpu"]


def test_every_tier_keeps_the_effective_batch_of_16():
    for name in TIERS:
        compute = load_settings(name).compute
        assert compute.batch_size * compute.accumulation == 16, name


@pytest.mark.parametrize("name", packaged_configs())
def test_every_config_opens_with_what_it_is_for(name):
    settings = load_settings(name)
    assert settings.name == name
    path = Path(str(resources.files("fcoslite"))) / "config" / "packaged" / f"{name}.yaml"
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
    ("text", "message"),
    [
        ("a: [", "self.yaml, line 1 is not valid YAML"),
        ("seed: 1\n  name: x", "line 2 is not valid YAML"),
        ("- 1\n", "no settings"),
        ("false", "no settings"),
        ("0", "no settings"),
        ("extends: [a]", "extends must be text"),
        ("extends: ''", "no config file"),
        ("extends: " + "x" * 5000, "no config file"),
        ('extends: "a\\0b"', "no config file"),
        ("extends: ./../{folder}/self.yaml", "extends itself"),
        ("train: {epochs: 3}\ntrain: {lr_max: 1}", "'train' is there twice"),
        ("seed: 2001-99-99", "month must be"),
        ("seed: " + "9" * 5000, "limit"),
        ("name: !!binary aGVsbG8=", "tags are not read"),
        ("name: !name x", "tags are not read"),
        ("=", "not valid YAML"),
        ("seed: " + "[" * 50_000, "deeper than"),
        ("seed: " + "{a: " * 20_000, "deeper than"),
        ("? " * 50_000, "deeper than"),
        ("# long\n" * 20_000, "longer than"),
        ("extends: self.yaml\n", "extends itself"),
        ("model: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_broken_files(tmp_path, text, message):
    path = tmp_path / "self.yaml"
    path.write_text(text.replace("{folder}", tmp_path.name))
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(path)
    assert len(caught.value.message) < 6000 and caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nmodel: {classes: *c}",
        "a: &a {k: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}",
        "a: &a [*a]",
    ],
)
def test_aliases_cannot_grow(tmp_path, text):
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(ConfigError, match="anchors and aliases"):
        load_settings(tmp_path / "bomb.yaml")


def test_an_error_names_the_file_that_holds_the_setting(tmp_path):
    (tmp_path / "base.yaml").write_text("train:\n  epochs: 0\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\ntrain: {lr_max: 1}\n")
    with pytest.raises(ConfigError, match=r"base\.yaml: train\.epochs is 0"):
        load_settings(tmp_path / "mine.yaml")
    with pytest.raises(ConfigError, match=r"--set seed=-1: seed is -1"):
        load_settings("mission", ["seed=-1"])


RETIRED = """
augment: {brightness_probability: 0.5, noise_probability: 0.5}
evaluate: {pre_filter: 0.001, top_k: 1000, max_detections: 100}
webcam: {score: 0.2, pre_filter: 1.0e-3, top_k: 1000, max_detections: 100}
"""


def test_settings_of_older_versions_are_passed_over_as_long_as_they_change_nothing(tmp_path, caplog):
    (tmp_path / "old.yaml").write_text(RETIRED)
    (tmp_path / "mine.yaml").write_text("extends: old.yaml\nwebcam: {score: 0.4}\n")
    assert load_settings(tmp_path / "old.yaml") == Settings()
    settings = load_settings(tmp_path / "mine.yaml", ["webcam.top_k=1000"], {"evaluate.top_k": 1000})
    assert (settings.webcam.score, settings.webcam.max_detections) == (0.4, 100)
    assert "top_k" not in settings.to_yaml() and not caplog.text
    (tmp_path / "old.yaml").write_text(RETIRED.replace("1.0e-3", "0.01"))
    with pytest.raises(
        ConfigError, match=r"old\.yaml: webcam\.pre_filter is no setting any more, and may only say 0\.001"
    ):
        load_settings(tmp_path / "mine.yaml")


def test_a_former_name_leads_to_its_config_and_the_log_says_the_new_one(tmp_path, caplog):
    (tmp_path / "mine.yaml").write_text("extends: default\nname: mine\n")
    for config in ("default", "default.yaml", tmp_path / "mine.yaml"):
        caplog.clear()
        assert load_settings(config, ["name=x"]) == load_settings("small-data", ["name=x"])
        assert "is now called 'small-data'" in caplog.text
    caplog.clear()
    (tmp_path / "default.yaml").write_text("seed: 5\n")
    (tmp_path / "mine.yaml").write_text("extends: default.yaml\n")
    assert load_settings(tmp_path / "mine.yaml").seed == 5  # a file of that name is the user's own
    assert not caplog.text


def test_a_chain_of_configs_has_an_end(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml\n")
    with pytest.raises(ConfigError, match="a chain of more than 10"):
        load_settings(tmp_path / "0.yaml")


def test_an_empty_file_and_a_byte_order_mark_are_no_trouble(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    (tmp_path / "marked.yaml").write_text("seed: 3\n", "utf-8-sig")
    assert load_settings(tmp_path / "empty.yaml") == Settings()
    assert load_settings(tmp_path / "marked.yaml").seed == 3


def test_a_message_can_always_be_printed():
    with pytest.raises(ConfigError) as caught:
        load_settings(None, ["a\udcff\x1b[31m=1"])
    assert caught.value.message.isprintable() and caught.value.message.encode()


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(path)


@given(st.text(max_size=40))
def test_no_override_crashes(text):
    with suppress(ConfigError):
        load_settings(None, [text])


KEYS = [*sorted(Settings().flat()), "augment.noise_probability", "webcam.top_k"]
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner)
)


@given(key=st.sampled_from(KEYS), value=values)
def test_no_value_crashes_and_what_is_taken_survives_the_file(key, value):
    try:
        settings = load_settings(None, values={key: value})
    except ConfigError as error:
        assert error.message.startswith("settings: ")
    else:
        assert make_settings(yaml.safe_load(settings.to_yaml()), "text") == settings


@given(st.dictionaries(st.sampled_from(["model", "train", "seed", "x"]) | st.text(max_size=5), values, max_size=4))
def test_no_file_that_yaml_can_write_crashes(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), "utf-8", errors="replace")
    with suppress(ConfigError):
        load_settings(path)


MISSION = (resources.files("fcoslite") / "config" / "packaged" / "mission.yaml").read_bytes()


@given(st.lists(st.tuples(st.integers(0, len(MISSION) - 1), st.binary(max_size=6)), min_size=1, max_size=5))
def test_no_damaged_file_crashes(tmp_path_factory, changes):
    data = bytearray(MISSION)
    for place, new in changes:
        data[place : place + len(new) // 2] = new
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(data)
    with suppress(ConfigError):
        load_settings(path)
