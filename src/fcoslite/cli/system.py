"""What this machine offers, for `fcoslite check`."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fcoslite.inference.input.cameras import list_cameras
from fcoslite.inference.output.window import has_display
from fcoslite.machine.backend import sees_gpu
from fcoslite.machine.environment import environment
from fcoslite.machine.gpus import why_no_gpu
from fcoslite.machine.tiers import machine_tier
from fcoslite.models.presets import PRESETS, SIZE_PIXELS, SIZES


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
    document["presets"] = {name: _describe(name) for name in PRESETS}
    return document


def _describe(preset: str) -> dict[str, Any]:
    architecture = PRESETS[preset]
    return {
        **asdict(SIZES[preset]),
        "image_size": SIZE_PIXELS,
        "classes": len(architecture.classes),
        "strides": list(architecture.strides),
    }
