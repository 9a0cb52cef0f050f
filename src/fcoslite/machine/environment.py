"""Versions and devices, for `check` and a run's environment.json."""

import os
import platform

from fcoslite.machine.gpus import driver_gpus


def device_names() -> list[str]:
    """The devices that the backend sees."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return [device.name for device in tf.config.list_physical_devices()]
    import jax

    return [str(device) for device in jax.devices()]


def environment() -> dict[str, object]:
    """Versions and devices, for a run's environment.json and for `check`."""
    from importlib.metadata import PackageNotFoundError, version

    import keras

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
