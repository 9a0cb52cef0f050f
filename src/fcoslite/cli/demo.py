"""`fcoslite demo`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import DryRunFlag, with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


@with_terminal
def command(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder in which demo-NNN is made.")] = Path(),
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Run the pipeline on embedded photographs: extract, records, detect, evaluate, fine-tune, evaluate again.

    Takes a few minutes on two CPU cores and needs no network. The packaged weights have never seen these photographs;
    the fine-tuned ones have, so that their figure shows that training works, not how good they are elsewhere.
    """
    from fcoslite.machine.backend import load_backend

    if dry_run:
        terminal.result({"workspace": f"{out}/demo-NNN", "config": "demo", "stages": 6})
        return
    load_backend()
    from fcoslite.demo.run import new_workspace, run_demo

    result = run_demo(new_workspace(out), terminal.progress)
    document = {
        "workspace": str(result.workspace),
        "produced": [
            {"what": what, "where": str(where), "figures": figures} for what, where, figures in result.produced
        ],
        "metrics": result.metrics,
    }
    rows = [[what, str(where), figures] for what, where, figures in result.produced]
    terminal.result(document, lambda: terminal.table(["what", "where", "figures"], rows))
