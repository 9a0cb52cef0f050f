import pytest

from fcoslite.config.load import load_settings
from fcoslite.errors import ConfigError


@pytest.mark.parametrize(
    ("config", "overrides", "message", "hint"),
    [
        ("missoin", [], "missoin", "mission"),
        (None, ["train.lr_mx=1"], "train.lr_mx", "lr_max"),
        (None, ["trian.lr_max=1"], "trian", "train"),
        (None, ["lr_max=1"], "lr_max", "train.lr_max"),
        (None, ["train.epochs=0"], "train.epochs is 0, and must be a whole number, at least 1 and at most", ""),
        (None, ["train.epochs=many"], "train.epochs is 'many', and must be a whole number", ""),
        (None, ["train.epochs=yes"], "train.epochs is True", ""),
        (None, ["train.epochs=2.5"], "train.epochs is 2.5", ""),
        (None, ["train.lr_max=0"], "a number, above 0 and at most 1,000", ""),
        (None, ["train.ema=1"], "a number, at least 0 and below 1", ""),
        (None, ["train.lr_max=.inf"], "train.lr_max is inf", ""),
        (None, ["train.lr_max=nan"], "train.lr_max is 'nan'", ""),
        (None, ["seed=0x" + "f" * 20_000], "seed is a number of very many digits", ""),
        (None, ["train.steps_per_epoch=-1"], "at most 1,000,000,000, or null", ""),
        (None, ["model.preset=lit"], "one of lite, lite0, r50", "did you mean 'lite'?"),
        (None, ["model.backbone_norms=run"], "one of running, frozen, or null", "running"),
        (None, ["finetune.keep=2"], "finetune.keep is 2, and must be auto, or a number, at least 0 and at most 1", ""),
        (None, ["finetune.keep=aut"], "finetune.keep is 'aut', and must be auto, or a number", "did you mean 'auto'?"),
        (None, ["model.strides=[3]"], "model.strides.0 is 3, and must be a whole number, at least 4", ""),
        (None, ["model.strides=8"], "a list of 1 to 8, each a whole number", ""),
        (None, ["model.classes=[]"], "a list of 1 to 2,000, each text of 1 to 1,000 characters", ""),
        (None, ['model.classes=["a\\nb"]'], "control characters", ""),
        (None, ["model.head_channels=1000000"], "at least 8 and at most 1,024", ""),
        (None, ["augment.scale=[2, 1]"], "the smaller zoom comes first", ""),
        (None, ["augment.scale=[1, 2, 3]"], "a list of 2, each a number", ""),
        (None, ["train=5"], "must be a section: epochs", ""),
        (None, ["name=../up"], "name is '../up'", ""),
        (None, ["workspace.runs="], "workspace.runs is None", ""),
        (None, ["webcam.top_k=50"], "--set webcam.top_k=50: webcam.top_k is no setting any more", "webcam.score"),
        (None, ["augment.noise_probability=yes"], "may only say 0.5", "augment.noise"),
        (None, ["train.lr_max"], "not an override", "section.key=value"),
        (None, ["a: [=1"], "a: [", ""),
    ],
)
def test_errors_name_the_key_and_the_way_out(config, overrides, message, hint):
    with pytest.raises(ConfigError) as caught:
        load_settings(config, overrides)
    assert message in caught.value.message
    assert hint in caught.value.hint
