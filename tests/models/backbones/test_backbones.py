"""The table: what it says of a backbone is what the backbone does."""

import inspect
from typing import get_args

import keras
import pytest

from fcoslite.config.settings import ModelSettings
from fcoslite.errors import ConfigError
from fcoslite.models.backbones import BACKBONES, build_backbone
from fcoslite.models.presets import PRESETS


def test_settings_know_every_backbone():
    names, nothing = get_args(ModelSettings.model_fields["backbone"].annotation)
    assert set(get_args(names)) == set(BACKBONES)
    assert nothing is type(None)
    assert {preset.backbone for preset in PRESETS.values()} <= set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_row_is_so(name):
    row = BACKBONES[name]
    options = set(inspect.signature(row.build).parameters) - {"images"}
    assert options == {option for option, is_so in (("norms", row.norms), ("weights", row.keras_file)) if is_so}
    features = build_backbone(name, keras.Input((64, 64, 3)), row.strides, "running")
    assert tuple(features) == row.strides
    for stride, value in features.items():
        assert value.shape[:3] == (None, 64 // stride, 64 // stride)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_map_finer_than_its_own_is_refused_and_nothing_built(name, monkeypatch):
    row = BACKBONES[name]
    monkeypatch.setattr(keras.layers.Layer, "__call__", None)
    with pytest.raises(ConfigError, match="no map of stride 2") as caught:
        build_backbone(name, keras.Input((64, 64, 3)), (2, *row.strides), "running")
    assert str(list(row.strides)) in caught.value.hint
