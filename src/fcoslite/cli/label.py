"""`fcoslite label`: a data set from pictures without boxes."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import DryRunFlag, MaxSkippedOption, with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


def _parse_frames(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(\d{0,9}):(\d{0,9})", text)
    if match is None:
        raise typer.BadParameter("it is FIRST:END, such as 0:400, 400: or :400", param_hint="--frames")
    return int(match[1] or 0), int(match[2]) if match[2] else None


@with_terminal
def command(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Photographs, folders of them, videos, and folders of collected frames.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write; or the very folder of frames.")
    ],
    by: Annotated[
        list[str],
        typer.Option(
            "--by",
            metavar="lite0|lite|FILE|RUN",
            help="A detector: packaged weights, a .npz file, a run, or MODEL.onnx with MODEL.yaml beside it, "
            "MODEL.onnx:FILE.yaml or MODEL.onnx:NAME, a packaged description (rtmdet, yolox, ...). Several are fused.",
        ),
    ] = ["lite"],  # noqa: B006, typer copies it
    size: Annotated[
        list[int] | None,
        typer.Option(
            "--size",
            metavar="PIXELS",
            min=32,
            max=4096,
            help="Side of the squares that ONNX files are given; several are fused.",
            show_default="what the file fixes",
        ),
    ] = None,
    no_mirror: Annotated[
        bool, typer.Option("--no-mirror", help="Do not look at the mirror images, too: half the time, less sure boxes.")
    ] = False,
    score: Annotated[
        float, typer.Option("--score", min=0.001, max=0.999, help="Boxes below are left out (0 to 1).")
    ] = 0.08,
    merge: Annotated[
        Path | None,
        typer.Option(
            "--merge",
            metavar="DATA",
            help="Folder of a data set, its COCO file, or data.yaml: its boxes stay, and what they miss is added. "
            "Images are told by file name.",
            show_default="none",
        ),
    ] = None,
    every: Annotated[int, typer.Option("--every", metavar="N", min=1, help="Take each N-th frame of a video.")] = 25,
    frames: Annotated[
        str, typer.Option("--frames", metavar="FIRST:END", help="Take frames of a video from FIRST to before END.")
    ] = "0:",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a former data set of label in --out.")
    ] = False,
    max_skipped: MaxSkippedOption = "1%",
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Make a data set of pictures without boxes: images, annotations.json with scores, and sheet.jpg to look at.

    Nothing appears in the output folder before it is complete; if stopped or killed, the same command goes on where
    it was. What `review` was told about these pictures stays.
    """
    from dataclasses import asdict

    from fcoslite.labelling.label import label
    from fcoslite.review.review import apply_answers

    result = label(
        sources,
        out,
        by=by,
        sizes=size or (),
        mirror=not no_mirror,
        score=score,
        merge=merge,
        every=every,
        frames=_parse_frames(frames),
        max_skipped=max_skipped,
        overwrite=overwrite,
        dry_run=dry_run,
        progress=terminal.progress,
    )
    answers = None if dry_run else apply_answers(out)
    document = {**asdict(result), "by": by, "answers": answers and asdict(answers), "dry_run": dry_run}
    rows = [
        ["classes", ", ".join(result.class_names)],
        ["detectors", f"{', '.join(by)}; {result.views} view{'s' * (result.views > 1)} of each image"],
        ["images", "unknown" if result.images is None else f"{result.images:,}"],
    ]
    if not dry_run:
        rows += [
            ["boxes", f"{result.boxes:,}, {result.sure_boxes:,} of them with a score of 0.4 or more"],
            *([["boxes to ask about", f"{result.asked_boxes:,}"]] if result.asked_boxes else []),
            ["boxes kept", f"{result.human_boxes:,}"],
            *(
                [["answers of review", f"{answers.yes:,} yes, {answers.no:,} no, {answers.drawn:,} drawn"]]
                if answers
                else []
            ),
            ["skipped images", f"{result.skipped_images:,}{' (skipped.jsonl)' if result.skipped_images else ''}"],
        ]
    rows += [
        ["space", f"about {result.needed_bytes / 1e6:,.1f} MB; {result.free_bytes / 1e9:,.1f} GB were free"],
        ["would write" if dry_run else "written to", str(result.out)],
    ]
    terminal.result(document, lambda: terminal.table(["", ""], rows, header=False))
