import pytest

from fcoslite.machine import tiers
from fcoslite.machine.gpus import Gpu
from fcoslite.machine.tiers import choose_tier


@pytest.mark.parametrize(
    ("mebibytes", "config"),
    [
        (81559, "vram-80gb"),
        (40960, "vram-24gb"),
        (24564, "vram-24gb"),
        (12288, "vram-12gb"),
        (8188, "vram-8gb"),
        (6144, "vram-6gb"),
        (4096, "vram-4gb"),
        (3717, "vram-4gb"),  # what a 4 GB laptop card leaves
        (2048, "vram-2gb"),
        (1024, "cpu"),
    ],
)
def test_the_tier_is_the_largest_that_fits(mebibytes, config):
    tier = choose_tier([Gpu("card", mebibytes, 8.6)], usable=True)
    assert tier.config == config
    assert "card" in tier.reason


def test_a_card_that_the_backend_cannot_use_does_not_count():
    assert choose_tier([Gpu("card", 8192, 8.6)], usable=False).config == "cpu"
    assert choose_tier([], usable=True).config == "cpu"


def test_half_precision_only_where_it_pays(monkeypatch):
    monkeypatch.setattr(tiers, "sees_gpu", lambda: True)
    for capability, precision in ((8.6, "mixed_float16"), (6.1, "float32")):
        monkeypatch.setattr(tiers, "driver_gpus", lambda capability=capability: [Gpu("card", 4096, capability)])
        assert tiers.choose_precision("auto") == precision
    assert tiers.choose_precision("mixed_bfloat16") == "mixed_bfloat16"
