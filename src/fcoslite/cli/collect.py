"""`fcoslite collect`: frames worth learning from, of one's own cameras."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import DryRunFlag, with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


@with_terminal
def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="A camera's number, an rtsp, http or https stream, a video, or a folder of videos. NAME=SOURCE gives "
            "its camera a name.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to collect into; it is gone on with.")
    ],
    per_hour: Annotated[
        int,
        typer.Option("--per-hour", metavar="N", min=1, help="Most frames of each hour of the day and camera."),
    ] = 60,
    max_gb: Annotated[
        float, typer.Option("--max-gb", metavar="GB", min=0.001, help="Most gigabytes of pictures in the folder.")
    ] = 2.0,
    hours: Annotated[
        float | None,
        typer.Option("--hours", metavar="HOURS", min=0.0001, help="Stop after so many.", show_default="on Ctrl-C"),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="TIME",
            help="When the first recording of each camera began, such as 2026-11-28T22:00; the others follow it.",
            show_default="each ended when its file was last written",
        ),
    ] = None,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Collect frames worth learning from: where something moved, unlike those there, spread over the hours.

    Some frames in which nothing moves are kept, too. A lost stream is waited for. Stopped or killed, the same command
    goes on in the same folder. Ctrl-C ends it, and writes a contact sheet.
    """
    from dataclasses import asdict

    from fcoslite.camera.clock import parse_start
    from fcoslite.camera.collect import collect

    result = collect(
        sources,
        out,
        per_hour=per_hour,
        max_gb=max_gb,
        hours=hours,
        start=None if start is None else parse_start(start),
        dry_run=dry_run,
        progress=terminal.progress,
    )
    rows = [["sources", "; ".join(result.sources)]]
    if not dry_run:
        by_camera = ", ".join(f"{camera} {count:,}" for camera, count in result.by_camera.items())
        kinds = f"{result.moved:,} with motion, {result.quiet:,} quiet"
        rows += [
            ["frames", f"{result.frames:,} new: {kinds}{f'; {by_camera}' if len(result.by_camera) > 1 else ''}"],
            ["in the folder", f"{result.all_frames:,} frames, {result.megabytes:,.1f} MB"],
            ["stopped by", result.stopped_by],
        ]
        if result.unreadable:
            rows.append(["not read", "; ".join(result.unreadable)])
        if result.sheet is not None:
            rows.append(["to look at", str(result.sheet)])
    rows.append(["would write" if dry_run else "written to", str(result.out)])
    terminal.result({**asdict(result), "dry_run": dry_run}, lambda: terminal.table(["", ""], rows, header=False))
