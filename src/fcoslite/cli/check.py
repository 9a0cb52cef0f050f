"""`fcoslite check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcoslite.cli.options import with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


@with_terminal
def command(
    *,
    terminal: "Terminal",
) -> None:
    """Show what this machine offers: versions, devices, the settings that fit, disk, camera, display, model sizes."""
    from fcoslite.machine.backend import load_backend

    load_backend()
    document = inspect_machine(Path.cwd())

    def render() -> None:
        presets = document["presets"]
        listed = document["cameras"]
        cameras = "unknown until opened" if listed is None else ", ".join(listed) or "none found"
        gpus = [f"{gpu['name']}, {gpu['memory_mb']} MiB" for gpu in document["gpus"]]
        rows = [
            ["Python", f"{document['python']} on {document['platform']}, {document['cpu_count']} CPUs"],
            ["versions", ", ".join(f"{name} {version}" for name, version in document["versions"].items())],
            ["backend", f"{document['backend']}: {', '.join(document['devices'])}"],
            ["GPU", "; ".join([*gpus, document["gpu"]])],
            ["config", f"{document['tier']} ({document['tier_reason']})"],
            ["free disk", f"{document['free_disk_gb']} GB"],
            ["cameras", cameras],
            ["display", "yes" if document["display"] else "none: webcam saves its output instead"],
        ]
        for name, facts in presets.items():
            size = f"{facts['parameters']:,} parameters, {facts['gmacs']} GMACs at {facts['image_size']} pixels"
            rows.append([f"preset {name}", f"{size}, {facts['classes']} classes"])
        terminal.table(["", ""], rows, header=False)

    terminal.result(document, render)


def inspect_machine(folder: Path) -> dict[str, Any]:
    """Versions, backend, devices, the tier of settings, disk, camera, display and the presets' sizes.

    Args:
        folder: The workspace whose disk is looked at.
    """
    import shutil

    from fcoslite.inference.input.cameras import list_cameras
    from fcoslite.inference.output.window import has_display
    from fcoslite.machine.backend import sees_gpu
    from fcoslite.machine.environment import environment
    from fcoslite.machine.gpus import why_no_gpu
    from fcoslite.machine.tiers import machine_tier
    from fcoslite.models.presets import PRESETS

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
    from dataclasses import asdict

    from fcoslite.models.presets import PRESETS, SIZE_PIXELS, SIZES

    architecture = PRESETS[preset]
    return {
        **asdict(SIZES[preset]),
        "image_size": SIZE_PIXELS,
        "classes": len(architecture.classes),
        "strides": list(architecture.strides),
    }
