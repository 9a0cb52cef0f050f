"""The packaged config and the precision that fit the machine."""

from dataclasses import dataclass

from fcoslite.machine.backend import sees_gpu
from fcoslite.machine.gpus import Gpu, driver_gpus

# GB of GPU memory, largest first; the settings are in config/packaged/vram-<GB>gb.yaml
TIERS = (80, 24, 12, 8, 6, 4, 2)
# drivers keep some of the nominal memory: a "4 GB" card reports 3.6 to 4.0 GiB
_NOMINAL_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Tier:
    """The packaged config that fits the machine, and why."""

    config: str
    reason: str


def choose_tier(gpus: list[Gpu], usable: bool) -> Tier:
    """The config for a machine with these GPUs.

    Args:
        gpus: As the driver lists them; the first is used.
        usable: Whether the backend can compute on them.
    """
    if not gpus or not usable:
        return Tier("cpu", "no GPU that the backend can use")
    memory = gpus[0].memory_mb / 1024
    for tier in TIERS:
        if memory >= tier * _NOMINAL_SHARE:
            return Tier(f"vram-{tier}gb", f"{gpus[0].name} has {memory:.1f} GiB")
    return Tier("cpu", f"{gpus[0].name} has only {memory:.1f} GiB")


def machine_tier() -> Tier:
    """The config for this machine."""
    return choose_tier(driver_gpus(), sees_gpu())


def choose_precision(setting: str) -> str:
    """A Keras dtype policy: `auto` is mixed_float16 on GPUs of compute capability 7.0 and up, float32 elsewhere."""
    if setting != "auto":
        return setting
    gpus = driver_gpus()
    if gpus and gpus[0].compute_capability >= 7.0 and sees_gpu():
        return "mixed_float16"
    return "float32"
