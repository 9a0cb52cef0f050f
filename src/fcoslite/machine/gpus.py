"""GPUs: what the driver lists, why one is not used, and a limit on its memory."""

import platform
import shutil
import subprocess
from dataclasses import dataclass


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
    import keras

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


def limit_memory(limit_mb: int | None) -> None:
    """Take no more GPU memory than this; call before anything is computed. The first limit of a process is its last.

    TensorFlow only: JAX takes its limit from XLA_PYTHON_CLIENT_MEM_FRACTION before it starts.
    """
    if limit_mb is None:
        return
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        if tf.config.get_logical_device_configuration(gpu):
            continue
        tf.config.experimental.set_memory_growth(gpu, False)  # the two exclude each other
        tf.config.set_logical_device_configuration(gpu, [tf.config.LogicalDeviceConfiguration(memory_limit=limit_mb)])
