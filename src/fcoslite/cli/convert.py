"""`fcoslite convert`: a data set in another format."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import (
    Boxes,
    BoxesOption,
    DryRunFlag,
    FormatOption,
    ImagesOption,
    MaxSkippedOption,
    SplitOption,
    with_terminal,
)

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


class Target(StrEnum):
    """Formats that are written."""

    coco = "coco"
    yolo = "yolo"
    voc = "voc"
    createml = "createml"


class Link(StrEnum):
    """How image files come to the output folder."""

    none = "none"
    copy = "copy"
    hardlink = "hardlink"
    symlink = "symlink"


@with_terminal
def command(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of a data set; or its COCO file, or data.yaml.")],
    to: Annotated[Target, typer.Option("--to", help="Format to write.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")],
    images: ImagesOption = None,
    form: FormatOption = None,
    boxes: BoxesOption = Boxes.xywh,
    split: SplitOption = None,
    link: Annotated[
        Link, typer.Option("--link", help="Copy the image files, link to them, or leave them where they are.")
    ] = Link.none,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a former output of convert in --out.")
    ] = False,
    max_skipped: MaxSkippedOption = "1%",
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Write a data set as COCO, YOLO, Pascal VOC or CreateML, with the same images, boxes and splits.

    What the format cannot say (crowds, scores) is counted. Nothing appears in the output folder before it is complete.
    """
    from dataclasses import asdict

    from fcoslite.data.convert import convert

    result = convert(
        data,
        to.value,
        out,
        images=images,
        form=form.value if form else None,
        boxes=boxes.value,
        split=split,
        link=link.value,
        max_skipped=max_skipped,
        overwrite=overwrite,
        dry_run=dry_run,
        progress=terminal.progress,
    )
    splits = ", ".join(f"{count:,} {name}" for name, count in result.splits.items())
    rows = [
        ["classes", ", ".join(result.class_names)],
        ["images", f"{result.images:,}{f': {splits}' if splits else ''}"],
        ["boxes", f"{result.boxes:,}"],
        ["crowds left out", f"{result.crowds_left_out:,}"],
        ["scores left out", f"{result.scores_left_out:,}"],
        ["boxes cut at the border", f"{result.clipped_boxes:,}"],
        ["boxes left out", f"{result.dropped_boxes:,}"],
        ["skipped images", f"{result.skipped_images:,}{' (skipped.jsonl)' if result.skipped_images else ''}"],
        ["image files", f"{result.size_bytes / 1e6:,.1f} MB ({link.value})"],
        ["would write" if dry_run else "written to", str(result.out)],
    ]
    document = {**asdict(result), "link": link.value, "dry_run": dry_run}
    terminal.result(document, lambda: terminal.table(["", ""], rows, header=False))
