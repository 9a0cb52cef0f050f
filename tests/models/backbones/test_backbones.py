from typing import get_args

from fcoslite.config.settings import ModelSettings
from fcoslite.models.backbones import BACKBONES


def test_the_table_and_the_setting_name_the_same_backbones():
    [names, _] = get_args(ModelSettings.model_fields["backbone"].annotation)
    assert set(get_args(names)) == set(BACKBONES)
