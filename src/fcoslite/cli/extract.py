"""`fcoslite extract`: a smaller COCO data set of the chosen classes."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import (
    Boxes,
    BoxesOption,
    DryRunFlag,
    FormatOption,
    MaxSkippedOption,
    SplitOption,
    named_data,
    to_place,
    with_terminal,
)

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


class Link(StrEnum):
    """How image files come to the output folder."""

    copy = "copy"
    hardlink = "hardlink"
    symlink = "symlink"


AnnotationsOption = Annotated[
    Path | None,
    typer.Option(
        "--annotations",
        "-a",
        metavar="FILE",
        parser=to_place,
        help="COCO instances file, or its address, such as instances_train2017.json.",
        show_default="none",
    ),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        "-i",
        metavar="DIR",
        parser=to_place,
        help="Folder of its images, such as train2017.",
        show_default="none",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        "-d",
        metavar="DIR",
        help="A data set of any format, instead: COCO, YOLO, Pascal VOC, CreateML.",
        show_default="none",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="Folder to write.", show_default="data/person"),
]
ClassesOption = Annotated[
    list[str],
    typer.Option(
        "--classes",
        metavar="NAME",
        help="Class to keep; for several, commas or the flag again. A name with a comma in it is taken whole. Ids are "
        "1, 2, ... in this order.",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        metavar="N",
        min=1,
        help="Take a seeded sample of N images with a box; the same N every time.",
        show_default="all",
    ),
]
NegativesOption = Annotated[
    float,
    typer.Option(
        "--negatives",
        metavar="FRACTION",
        min=0,
        help="Add images without any of the classes: 0.1 is one to ten images with a box.",
    ),
]
LinkOption = Annotated[
    Link, typer.Option("--link", help="Copy the image files, or link to them, which takes no space.")
]
YoloFlag = Annotated[
    bool,
    typer.Option(
        "--yolo-labels",
        help="Also write labels/NAME.txt: class (from 0), x_center, y_center, width, height, as fractions "
        "of the image.",
    ),
]
OverwriteFlag = Annotated[bool, typer.Option("--overwrite", help="Replace a former extract in --out.")]
SampleSeedOption = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Random seed of the samples.")]


@with_terminal
def command(
    annotations: AnnotationsOption = None,
    images: ImagesOption = None,
    data: DataOption = None,
    form: FormatOption = None,
    boxes: BoxesOption = Boxes.xywh,
    split: SplitOption = None,
    out: OutOption = None,
    classes: ClassesOption = ["person"],  # noqa: B006, typer copies it
    limit: LimitOption = None,
    negatives: NegativesOption = 0.0,
    link: LinkOption = Link.copy,
    yolo_labels: YoloFlag = False,
    overwrite: OverwriteFlag = False,
    seed: SampleSeedOption = 0,
    max_skipped: MaxSkippedOption = "1%",
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Cut a data set down to some classes (default: person): images, annotations.json, manifest.json.

    Licences and attributions are kept. Nothing appears in the output folder before it is complete; if stopped or
    killed, the same command goes on where it was.
    """
    from dataclasses import asdict

    from fcoslite.config.settings import DATA_FOLDER
    from fcoslite.data.extract.extract import extract

    result = extract(
        named_data(data, annotations, images),
        images,
        out or Path(DATA_FOLDER),
        classes=classes,
        limit=limit,
        negatives=negatives,
        link=link.value,
        yolo_labels=yolo_labels,
        seed=seed,
        max_skipped=max_skipped,
        overwrite=overwrite,
        dry_run=dry_run,
        progress=terminal.progress,
        form=form.value if form else None,
        boxes=boxes.value,
        split=split,
    )
    document = {**asdict(result), "link": link.value, "dry_run": dry_run}
    rows = [
        ["classes", ", ".join(result.class_names)],
        ["images", f"{result.images:,}, {result.negatives:,} of them without a box"],
        ["boxes", f"{result.boxes:,}, {result.crowd_boxes:,} of them crowds"],
        ["image files", f"{result.size_bytes / 1e6:,.1f} MB ({link.value})"],
        ["space", f"{result.needed_bytes / 1e6:,.1f} MB; {result.free_bytes / 1e9:,.1f} GB were free"],
        ["skipped images", f"{result.skipped_images:,}{' (skipped.jsonl)' if result.skipped_images else ''}"],
        ["boxes cut at the border", f"{result.clipped_boxes:,}"],
        ["boxes left out", f"{result.dropped_boxes:,}"],
        ["would write" if dry_run else "written to", str(result.out)],
    ]
    terminal.result(document, lambda: terminal.table(["", ""], rows, header=False))
