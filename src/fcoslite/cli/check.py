"""`fcoslite check`."""

from fcoslite.cli.options import DebugFlag, JsonFlag, QuietFlag, VerboseFlag


def command(
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Show what this machine offers: versions, devices, the settings that fit, disk, camera, display, model sizes."""
    from pathlib import Path

    from fcoslite.cli.console import Terminal
    from fcoslite.machine.backend import load_backend

    terminal = Terminal(as_json, quiet, verbose)
    load_backend()
    from fcoslite.cli.system import inspect_machine

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
