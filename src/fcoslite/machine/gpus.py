"""What the machine can hold: GPUs and their memory, the tier of settings that fits, and limits on memory."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass

import keras

from fcoslite.config.settings import Settings
from fcoslite.errors import RunError
from fcoslite.machine.backend import sees_gpu

# GB of GPU memory, largest first; the settings are in configs/vram-<GB>gb.yaml
TIERS = (80, 24, 12, 8, 6, 4, 2)
# drivers keep some of the nominal memory: a "4 GB" card reports 3.6 to 4.0 GiB
_NOMINAL_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its driver describes it.

    Attributes:
        name: E.g. `NVIDIA GeForce RTX 3050 Laptop GPU`.
        memory_mb: MiB in all.
        compute_capability: E.g. 8.6.
    """

    name: str
    memory_mb: int
    compute_capability: float


@dataclass(frozen=True, slots=True)
class Tier:
    """The packaged config that fits the machine, and why."""

    config: str
    reason: str


def driver_gpus() -> list[Gpu]:
    """The GPUs that nvidia-smi lists; empty without a driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    gpus = []
    for line in output.splitlines():
        try:
            name, memory, capability = (part.strip() for part in line.rsplit(",", 2))
            gpus.append(Gpu(name, int(memory), float(capability)))
        except ValueError:  # "[N/A]" where a driver does not tell
            continue
    return gpus


def why_no_gpu() -> str:
    """Why the backend computes on the CPU, and what would change that."""
    gpus = driver_gpus()
    if keras.backend.backend() != "tensorflow":
        return "JAX finds no GPU" + ("; install jax[cuda13]" if gpus else " and there is no NVIDIA driver")
    if platform.system() == "Windows":
        return "TensorFlow has no GPU build for native Windows since 2.11; use WSL2"
    if platform.system() == "Darwin":
        return "TensorFlow's own builds use no Apple GPU"
    if not gpus:
        return "nvidia-smi lists no GPU: none is built in, or its driver is not installed"
    import tensorflow as tf

    if not tf.test.is_built_with_cuda():
        return f"{gpus[0].name} is there, but this TensorFlow is a CPU build; install tensorflow"
    return f"{gpus[0].name} is there, but CUDA libraries are missing; install fcoslite[cuda]"


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


def limit_memory(limit_mb: int | None) -> None:
    """Take no more GPU memory than this; call before anything is computed.

    TensorFlow only: JAX takes its limit from XLA_PYTHON_CLIENT_MEM_FRACTION before it starts.
    """
    if limit_mb is None or keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, False)  # the two exclude each other
        tf.config.set_logical_device_configuration(gpu, [tf.config.LogicalDeviceConfiguration(memory_limit=limit_mb)])


def device_names() -> list[str]:
    """The devices that the backend sees."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return [device.name for device in tf.config.list_physical_devices()]
    import jax

    return [str(device) for device in jax.devices()]


def environment() -> dict[str, object]:
    """Versions and devices, for a run's environment.json and for `check`."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("fcoslite", "keras", "tensorflow", "jax", "numpy", "opencv-python", "mlflow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "backend": keras.backend.backend(),
        "versions": versions,
        "devices": device_names(),
        "gpus": [{"name": gpu.name, "memory_mb": gpu.memory_mb} for gpu in driver_gpus()],
    }


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of TensorFlow or JAX says that the accelerator's memory was too small."""
    # by name: only the backend at work is imported
    name = type(error).__name__
    return name == "ResourceExhaustedError" or (name.endswith("RuntimeError") and "RESOURCE_EXHAUSTED" in str(error))


def halve_batch(settings: Settings) -> Settings:
    """Half the images a step and twice the steps an update: the same updates in less memory.

    Raises:
        RunError: The batch cannot be halved.
    """
    compute = settings.compute
    if compute.batch_size % 2:
        raise RunError(
            f"the accelerator's memory is too small for a batch of {compute.batch_size} at {settings.model.image_size} "
            "pixels",
            "lower model.image_size, or take a smaller model.preset",
        )
    update = {"batch_size": compute.batch_size // 2, "accumulation": compute.accumulation * 2}
    schedules = {
        name: schedule.model_copy(
            update={
                "warmup_steps": schedule.warmup_steps * 2,
                "steps_per_epoch": schedule.steps_per_epoch and schedule.steps_per_epoch * 2,
            }
        )
        for name, schedule in (("train", settings.train), ("finetune", settings.finetune))
    }
    return settings.model_copy(update={"compute": compute.model_copy(update=update), **schedules})
