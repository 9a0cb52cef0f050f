"""`fcoslite inspect`: what is in a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcoslite.cli.options import (
    Boxes,
    BoxesOption,
    DryRunFlag,
    FormatOption,
    ImagesOption,
    OverwriteFlag,
    SplitOption,
    with_terminal,
)

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal
    from fcoslite.data.inspect.inspect import Inspection

_SHOWN = 10  # lines of a kind


@with_terminal
def command(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder of a data set, or of records; or a COCO file, data.yaml.")
    ],
    images: ImagesOption = None,
    form: FormatOption = None,
    boxes: BoxesOption = Boxes.xywh,
    split: SplitOption = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--classes",
            metavar="NAME",
            help="Class whose boxes to look at; for several, commas or the flag again.",
            show_default="all",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="Open N image files only, a sample that is always the same. The boxes are counted of all.",
            show_default="all",
        ),
    ] = None,
    no_files: Annotated[
        bool,
        typer.Option("--no-files", help="Open no image file: nothing is said of missing or damaged ones, nor copies."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="HTML file to write, too.", show_default="none"),
    ] = None,
    overwrite: OverwriteFlag = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="End with exit code 1 if boxes are left out, images cannot be used, or splits share a photograph.",
        ),
    ] = False,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Show what is in a data set: boxes by class and size, odd boxes, bad files, copies, photographs in two splits.

    Of any format that is read, and of records. Every image is decoded once, and compared with all others. The data are
    not changed.
    """
    from fcoslite.data.inspect.inspect import inspect_data, plan_inspection
    from fcoslite.errors import ConfigError, DataError
    from fcoslite.inference.output.places import check_new

    if no_files and limit is not None:
        raise ConfigError("--no-files and --limit exclude each other", "give one of them")
    if out is not None:
        from fcoslite.reports.page import check_page_name

        check_page_name(out)
        check_new(out, "--out", False, overwrite)
    plan = plan_inspection(
        data, images, classes, split, form.value if form else None, boxes.value, not no_files, limit, terminal.progress
    )
    if dry_run:
        terminal.result(
            {
                "data": str(plan.table.path),
                "images": len(plan.table.images),
                "boxes": len(plan.table.class_ids),
                "images_to_open": len(plan.to_open),
                "out": str(out) if out else None,
            }
        )
        return
    found = inspect_data(plan, terminal.progress)
    document = found.document()
    if out is not None:
        from fcoslite.reports.inspection import write_inspection

        document["page"] = str(out)
        write_inspection(found, out)
    terminal.result(document, lambda: _render(found, out, terminal))
    if strict and found.faults:
        raise DataError(f"{data}: {'; '.join(found.faults)}", "mend the data, or leave --strict out")


def _render(found: "Inspection", out: Path | None, terminal: "Terminal") -> None:
    figures, table = found.figures, found.table
    ordinary = figures.boxes - figures.crowds
    with_box = figures.images - figures.images_without_box
    rows = [
        ["data", str(table.path)],
        ["images", f"{figures.images:,}, {figures.images_without_box:,} of them without a box"],
        [
            "boxes",
            f"{figures.boxes:,} on {with_box:,} images, {figures.crowds:,} of them crowds, {figures.scored:,} with a "
            "score",
        ],
    ]
    if ordinary:
        sizes = ", ".join(f"{name} {count:,} ({count / ordinary:.0%})" for name, count in figures.by_size.items())
        rows.append(["sizes", f"{sizes}: as COCO has them, below 32² and 96² square pixels, and above"])
    rows += [[_SPREADS[name], _quantiles(spread.quantiles)] for name, spread in figures.spreads.items()]
    common = ", ".join(f"{width}x{height} ({count:,})" for width, height, count in figures.common_sizes)
    more = figures.different_sizes - len(figures.common_sizes)
    rows.append(["sides of images", f"{common}{f', and {more:,} more' if more else ''}"])
    rows += [["odd boxes", f"{odd.count:,} {odd.name}: {odd.meaning}"] for odd in found.odd_boxes]
    rows.append(["boxes of the file", f"{table.dropped_boxes:,} left out, {table.clipped_boxes:,} cut at the border"])
    rows += _file_rows(found)
    if out is not None:
        rows.append(["written to", str(out)])
    terminal.table(["", ""], rows, header=False)
    shown = sorted(figures.classes, key=lambda one: -one.boxes)
    _table(
        terminal,
        ["class", "boxes", "small", "medium", "large", "crowds", "images"],
        [[one.name, one.boxes, one.small, one.medium, one.large, one.crowds, one.images] for one in shown],
    )
    if [one.name for one in figures.splits] != [None]:
        _table(
            terminal,
            ["split", "images", "without a box", "boxes", "crowds"],
            [[one.name or "none", one.images, one.images_without_box, one.boxes, one.crowds] for one in figures.splits],
        )


_SPREADS = {
    "box_side": "side of a box, pixels",
    "relative_side": "side of a box / image",
    "box_aspect": "width / height of a box",
    "boxes_per_image": "boxes on an image",
    "score": "scores",
    "image_side": "longer side of an image",
    "image_aspect": "width / height of an image",
}


def _quantiles(quantiles: dict[str, float]) -> str:
    low, five, _, median, _, ninety_five, high = quantiles.values()
    return f"median {median:.3g}, 90% {five:.3g} to {ninety_five:.3g}, all {low:.3g} to {high:.3g}"


def _file_rows(found: "Inspection") -> list[list[str]]:
    files, images = found.files, found.table.images
    if files is None:
        return [["files", "not opened"]]
    total = len(files.opened) + len(files.unusable)
    rows = [["files", f"{total:,} opened, {len(files.unusable):,} cannot be used"]]
    rows += [["", f"{one.file_name}: {one.reason}"] for one in files.unusable[:_SHOWN]]
    if files.unusable:
        rows.append(["", files.hint])
    same = sum(group.same_bytes for group in files.duplicates)
    rows.append(["duplicates", f"{same:,} groups of the same bytes, {len(files.duplicates) - same:,} that look alike"])
    if found.table.split_names:
        rows.append(["in two splits", f"{len(files.shared):,} photographs"])
    for group in files.duplicates[:_SHOWN]:
        names = [images[index].file_name for index in group.images]
        listed = " = ".join(names[:3]) if group.same_bytes else " ~ ".join(names[:3])
        splits = f" ({', '.join(group.splits)})" if group.splits else ""
        rows.append(["", f"{listed}{f' and {len(names) - 3:,} more' if len(names) > 3 else ''}{splits}"])
    if max(len(files.unusable), len(files.duplicates)) > _SHOWN:
        rows.append(["", "--json lists all"])
    return rows


def _table(terminal: "Terminal", columns: list[str], rows: list[list[Any]]) -> None:
    terminal.table([], [])
    terminal.table(columns, [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows[:20]])
    if len(rows) > 20:
        terminal.table(["", ""], [["", f"and {len(rows) - 20:,} more: --json lists all"]], header=False)
