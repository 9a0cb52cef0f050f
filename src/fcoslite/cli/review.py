"""`fcoslite review`: a person looks at the boxes that detectors have drawn."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import DryRunFlag, HostOption, PortOption, with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


@with_terminal
def command(
    data: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A data set that `label` has made: annotations.json and images/."),
    ],
    host: HostOption = "127.0.0.1",
    port: PortOption = 8766,
    *,
    terminal: "Terminal",
    dry_run: DryRunFlag = False,
) -> None:
    """Answer, on a page in the browser, whether boxes show a person: the most doubtful first, one key each.

    Every answer is on the disk, in reviews.jsonl, before the next box is shown. The same command goes on where it was.
    """
    from dataclasses import asdict

    from fcoslite.browser.page import check_browser
    from fcoslite.data.formats.coco_folder import ANNOTATIONS
    from fcoslite.machine.signals import killed_as_interrupted
    from fcoslite.review.review import open_review

    check_browser()
    with killed_as_interrupted(), open_review(data, dry_run) as review:
        review.check_images()
        if not dry_run:
            from fcoslite.review.page import ReviewPage

            with ReviewPage(review, host, port) as page:
                terminal.announce(f"open {page.address} in a browser on this machine; Ctrl-C ends it")
                page.run()
        counts = review.counts()
    result = {"annotations": data / ANNOTATIONS, "dry_run": dry_run, **asdict(counts)}
    rows = [
        ["boxes to doubt", f"{counts.crops:,}, {counts.left:,} of them not answered"],
        ["answers", f"{counts.yes:,} yes, {counts.no:,} no, {counts.unsure:,} not sure, {counts.drawn:,} drawn"],
        ["places", f"{counts.places:,}, with {counts.at_places:,} boxes"],
        ["skipped images", f"{counts.skipped_images:,}"],
        ["would write" if dry_run else "written to", str(data / ANNOTATIONS)],
    ]
    terminal.result(result, lambda: terminal.table(["", ""], rows, header=False))
