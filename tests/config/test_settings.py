import yaml

from fcoslite.config.load import load_settings, make_settings
from fcoslite.config.settings import Settings


def test_the_mission_config_is_the_defaults():
    assert load_settings("mission") == Settings()


def test_yaml_round_trip():
    settings = load_settings("smoke", ["model.classes=[person]"])
    assert make_settings(yaml.safe_load(settings.to_yaml()), "text") == settings
