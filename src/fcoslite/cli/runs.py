"""`fcoslite runs`: list, show, plot, sync."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcoslite.cli.options import DryRunFlag, MlflowOption, OverwriteFlag, with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal
    from fcoslite.runs.run import Run

app = typer.Typer(
    help="Look at runs, and bring MLflow to what they hold. Only sync needs MLflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

RunsOption = Annotated[
    Path | None,
    typer.Option("--runs", metavar="DIR", help="Folder of runs.", show_default="workspace.runs: runs"),
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run, by path or name.", show_default=False)]
RunsArgument = Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, by path or name.", show_default=False)]


@app.command("list")
@with_terminal
def list_command(
    runs: RunsOption = None,
    *,
    terminal: "Terminal",
) -> None:
    """List runs, oldest first: state, epochs, best epoch with its validation loss and AP."""
    from dataclasses import asdict

    from fcoslite.runs.run import list_runs
    from fcoslite.runs.summary import overview

    folder = runs or _workspace()
    found = [overview(run) for run in list_runs(folder)]

    def render() -> None:
        rows = [
            [
                run.name,
                run.verb or "-",
                run.state,
                f"{run.epochs} of {_text(run.planned_epochs)}",
                _text(run.best_epoch),
                _text(run.best_val_loss),
                _text(run.best_val_ap),
                run.created[:16].replace("T", " "),
                run.damage,
            ]
            for run in found
        ]
        columns = ["run", "verb", "state", "epochs", "best", "val_loss", "val_ap", "started (UTC)", ""]
        terminal.table(columns, rows) if rows else terminal.note(f"{folder} holds no runs")

    terminal.result({"runs": [asdict(run) for run in found]}, render)


@app.command("show")
@with_terminal
def show_command(
    run: RunArgument,
    runs: RunsOption = None,
    *,
    terminal: "Terminal",
) -> None:
    """Show a run: its data, the settings that differ from its config, its best and last metrics, its files."""
    from dataclasses import asdict

    from fcoslite.runs.summary import details

    found = details(open_runs([run], runs)[0])

    def render() -> None:
        facts = {**found.facts, **asdict(found.overview)}
        rows = [[key, _text(value)] for key, value in facts.items() if value not in ("", None)]
        terminal.table(["", ""], rows, header=False)
        rows = [[key, _text(usual), _text(value)] for key, (usual, value) in found.changed.items()]
        terminal.table(["setting", found.config, "here"], rows, title=f"\nSettings other than those of {found.config}")
        if found.last:
            columns = ["metric", f"epoch {found.best['epoch']}, best", f"epoch {found.last['epoch']}, last"]
            rows = [[key, _text(found.best.get(key)), _text(value)] for key, value in found.last.items()]
            terminal.table(columns, rows, title="\nMetrics")
        if found.kept:
            from fcoslite.cli.kept import show_kept

            show_kept(terminal, found.kept, title="\nKept of the weights from before")
        terminal.table(["file", "bytes"], [[name, f"{size:,}"] for name, size in found.files.items()], title="\nFiles")

    terminal.result(asdict(found), render)


@app.command("plot")
@with_terminal
def plot_command(
    run: RunsArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The PNG file.",
            show_default="curves.png in the run; of several runs, curves.png here",
        ),
    ] = None,
    runs: RunsOption = None,
    overwrite: OverwriteFlag = False,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Draw losses, AP and learning rate of one run, or of several to compare them."""
    from fcoslite.errors import ConfigError, RunError
    from fcoslite.inference.output.places import check_new
    from fcoslite.runs.run import distinct

    opened = distinct(open_runs(run, runs))
    lines = {name: one.read_metrics() for name, one in opened.items()}
    for name, epochs in lines.items():
        if not epochs:
            raise RunError(f"{name} has finished no epoch", "there is nothing to draw yet")
    [first, *others] = opened.values()
    file = out or (Path("curves.png") if others else first.curves_file)
    if file.suffix.lower() != ".png":
        raise ConfigError(f"--out {file}", "the name of a chart ends in .png")
    if out or others:  # the run's own is drawn anew by training, too
        check_new(file, "--out", False, overwrite)
    if not dry_run:
        from fcoslite.evaluation.plots import compare_curves

        compare_curves(lines, file)
    terminal.result({"file": str(file), "epochs": {name: epochs[-1]["epoch"] for name, epochs in lines.items()}})


@app.command("sync")
@with_terminal
def sync_command(
    run: RunsArgument,
    runs: RunsOption = None,
    mlflow_uri: MlflowOption = None,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Bring MLflow to what runs hold: after it was out of reach, or its store was lost. Nothing is entered twice."""
    from dataclasses import asdict

    from fcoslite.errors import RunError
    from fcoslite.runs.mlflow_copy import sync_runs

    done = sync_runs(open_runs(run, runs), mlflow_uri, dry_run, terminal.progress)

    def render() -> None:
        rows = [[one.run, one.state, str(one.points), str(one.parameters), one.uri, one.problem] for one in done]
        terminal.table(["run", "state", "new values", "new settings", "MLflow", ""], rows)

    terminal.result({"runs": [asdict(one) for one in done]}, render)
    problems = [one.problem for one in done if one.problem]
    if problems:
        raise RunError(f"{len(problems)} of {len(done)} runs are not in MLflow", problems[0])


def _workspace() -> Path:
    from fcoslite.config.settings import WorkspaceSettings

    return Path(WorkspaceSettings().runs)


def open_runs(names: list[str], folder: Path | None) -> "list[Run]":
    """Runs by path, or by name in a folder; None: the workspace's."""
    from fcoslite.runs.run import open_run

    return [open_run(name, folder or _workspace()) for name in names]


def _text(value: Any) -> str:
    from fcoslite.runs.figures import is_figure

    if isinstance(value, float):
        return f"{value:.5g}" if is_figure(value) else "none"
    return "-" if value is None else str(value)
