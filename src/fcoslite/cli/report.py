"""`fcoslite report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import DryRunFlag, with_terminal
from fcoslite.cli.runs import RunsArgument, RunsOption, open_runs

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


@with_terminal
def command(
    run: RunsArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The HTML file.")] = Path("report.html"),
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            metavar="FILE",
            help="COCO instances JSON to evaluate on.",
            show_default="the runs' validation images if they have the same, else the embedded photographs",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Folder of its images.", show_default="none"),
    ] = None,
    runs: RunsOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a file that is there.")] = False,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Report on a run, or several side by side, in one HTML file: settings, curves, an evaluation, its worst errors.

    The file needs nothing beside it. The best weights of all runs are evaluated on the same images.
    """
    from fcoslite.errors import ConfigError, DataError
    from fcoslite.inference.output.places import check_new
    from fcoslite.reports.report import plan_report, write_report

    if (annotations is None) != (images is None):
        raise ConfigError("--annotations and --images go together", "give both, or neither")
    for path in (annotations, images):
        if path is not None and not path.exists():
            raise DataError(f"{path} does not exist", "check the path")
    check_new(out, "--out", False, overwrite)
    plan = plan_report(open_runs(run, runs), out, annotations, images, terminal.progress)
    if dry_run:
        terminal.result(plan.describe())
        return
    document = write_report(plan, terminal.progress)
    for note in document["notes"]:
        terminal.note(note)

    def render() -> None:
        size = f"{document['bytes'] / 1e6:.1f} MB"
        terminal.table(["", ""], [["file", document["file"]], ["size", size]], header=False)

    terminal.result(document, render)
