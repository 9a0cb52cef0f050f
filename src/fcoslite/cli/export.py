"""`fcoslite export`: a detector as a file for other engines and programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import DryRunFlag, OverwriteFlag, WeightsOption, with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


@with_terminal
def command(
    weights: WeightsOption = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="onnx|openvino|litert|saved-model",
            help="Of the file.",
            show_default="onnx; with --layout ssd litert",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            metavar="fcoslite|yolo|ssd",
            help="Of input and outputs, by which other programs read the file. yolo: Frigate, Scrypted, Ultralytics,"
            " OpenCV. ssd: what reads TensorFlow's SSDs in .tflite files. What to tell them is printed.",
        ),
    ] = "fcoslite",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="float32|float16|int8",
            help="float16: stored in half the bytes, computed in float32. int8: stored and computed in 8 bits, a third"
            " of the file; refused if it loses more than 0.01 AP.",
        ),
    ] = "float32",
    nms: Annotated[bool, typer.Option("--nms/--no-nms", help="Suppress duplicates in the file, too.")] = False,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            metavar="PIXELS",
            min=32,
            max=4096,
            help="Side of the letterboxed image.",
            show_default="that of the weights",
        ),
    ] = None,
    batch: Annotated[str, typer.Option("--batch", metavar="N|dynamic", help="Images at a time.")] = "1",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="DIR",
            help="Photographs like those to come, on which int8 measures its ranges.",
            show_default="the embedded ones",
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="DIR",
            help="A data set, images/ and annotations.json, to score before and after.",
            show_default="none; for int8 the embedded photographs",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="To write.",
            show_default="NAME-SIZE-PRECISION here, with the format's ending",
        ),
    ] = None,
    overwrite: OverwriteFlag = False,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Export a detector, run the file by the runtime it is for, and tell how far it is from the original."""
    from dataclasses import asdict

    from fcoslite.config.settings import WorkspaceSettings
    from fcoslite.errors import ConfigError, DataError
    from fcoslite.evaluation.export_detector import (
        FORMATS,
        FORMATS_OF,
        LAYOUTS,
        PRECISIONS,
        SUFFIXES,
        ExportPlan,
        check_out,
        export_detector,
        places_of,
    )
    from fcoslite.inference.about import about
    from fcoslite.inference.runtimes.exported import is_exported
    from fcoslite.runs.find_weights import find_weights, run_of

    path = find_weights(weights, Path(WorkspaceSettings().runs))
    if is_exported(path):
        raise ConfigError(f"{path} is exported already", "name the .npz file that it was made of")
    if not batch.isdecimal() and batch != "dynamic":
        raise ConfigError(f"--batch {batch[:100]}", "it is a number, or dynamic")
    chosen = next((each for each in PRECISIONS if each == precision), None)
    if chosen is None:
        raise ConfigError(f"--precision {precision[:100]}", f"it is one of {', '.join(PRECISIONS)}")
    laid_out = next((each for each in LAYOUTS if each == layout), None)
    if laid_out is None:
        raise ConfigError(f"--layout {layout[:100]}", f"it is one of {', '.join(LAYOUTS)}")
    form = next((each for each in FORMATS if each == (format or FORMATS_OF[laid_out][0])), None)
    if form is None:
        raise ConfigError(f"--format {(format or '')[:100]}", f"it is one of {', '.join(FORMATS)}")
    known = about(path)
    run = run_of(path)
    name = path.stem if run is None else run.name
    ending = SUFFIXES[form] if laid_out == "fcoslite" else f"-{laid_out}{SUFFIXES[form]}"
    plan = ExportPlan(
        weights=path,
        out=out or Path(f"{name}-{size or known.image_size}-{precision}{ending}"),
        format=form,
        precision=chosen,
        layout=laid_out,
        nms=nms,
        image_size=size,
        batch=None if batch == "dynamic" else int(batch),
        calibrate=calibrate,
        check=check,
    )
    if not plan.out.name.lower().endswith(SUFFIXES[form]):
        raise ConfigError(f"--out {plan.out}", f"the name of a file for {form} ends in {SUFFIXES[form]}")
    check_out(plan)
    for place in places_of(plan):
        if place.exists() and not overwrite:
            raise DataError(f"{place} is there already", "name another file with --out, or add --overwrite")
    if dry_run:
        terminal.result(asdict(plan))
        return
    result = export_detector(plan, terminal.progress)
    rows = [
        ["written to", str(result.out)],
        ["size", f"{result.size_bytes / 1e6:.1f} MB"],
        [
            "greatest difference from Keras",
            f"{result.box_difference:.3g} pixels, {result.score_difference:.2g} of a score",
        ],
        ["compared on", f"{result.compared} photographs"],
    ]
    if result.ap_after is not None:
        rows.append(["AP before and after", f"{result.ap_before:.4f}, {result.ap_after:.4f}"])
    if result.labels is not None:
        rows.append(["labels", str(result.labels)])

    def show() -> None:
        terminal.table(["", ""], rows, header=False)
        for program, text in result.configurations.items():
            terminal.text(f"\nFor {program}:\n\n{text}")

    terminal.result(result.document(), show)
