"""What this machine offers, for `fcoslite check`."""

import shutil
from pathlib import Path
from typing import Any

from fcoslite.backend import sees_gpu
from fcoslite.config import ModelSettings
from fcoslite.inference.cameras import list_cameras
from fcoslite.inference.window import has_display
from fcoslite.models.detector import build_detector, count_macs, count_parameters
from fcoslite.models.presets import PRESETS
from fcoslite.training.memory import environment, machine_tier, why_no_gpu


def inspect_machine(folder: Path) -> dict[str, Any]:
    """Versions, backend, devices, the tier of settings, disk, camera, display and the presets' sizes.

    Args:
        folder: The workspace whose disk is looked at.
    """
    tier = machine_tier()
    document = environment()
    document["tier"] = tier.config
    document["tier_reason"] = tier.reason
    document["gpu"] = "in use" if sees_gpu() else why_no_gpu()
    document["free_disk_gb"] = round(shutil.disk_usage(folder).free / 1e9, 1)
    cameras = list_cameras()
    document["cameras"] = None if cameras is None else [f"{camera.index}: {camera.name}" for camera in cameras]
    document["display"] = has_display()
    document["presets"] = {name: _describe(ModelSettings.model_validate({"preset": name})) for name in PRESETS}
    return document


def _describe(settings: ModelSettings) -> dict[str, Any]:
    detector = build_detector(settings)
    return {
        **count_parameters(detector.network),
        "gmacs": round(count_macs(detector.network) / 1e9, 3),
        "image_size": detector.image_size,
        "classes": len(detector.class_names),
        "strides": list(detector.architecture.strides),
    }
