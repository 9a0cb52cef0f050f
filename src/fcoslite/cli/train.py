"""`fcoslite train` and `fcoslite finetune`."""

from pathlib import Path
from typing import Annotated

import typer

from fcoslite.cli.options import (
    ConfigOption,
    DebugFlag,
    DryRunFlag,
    JsonFlag,
    QuietFlag,
    RecordsOption,
    SeedOption,
    SetOption,
    VerboseFlag,
)

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Train on an extracted COCO folder instead of records.",
        show_default="none",
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option("--epochs", metavar="N", min=1, help="Passes over the data.", show_default="the config's"),
]
ResumeOption = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        help="Go on with this run (path or name) from its newest checkpoint, with its own settings.",
        show_default="none",
    ),
]
MlflowOption = Annotated[
    str | None,
    typer.Option(
        "--mlflow-uri",
        metavar="URI",
        help="MLflow tracking server or database.",
        show_default="workspace.mlflow_uri: sqlite:///mlflow.db",
    ),
]
CheckpointOption = Annotated[
    float | None,
    typer.Option(
        "--checkpoint-every",
        metavar="MINUTES",
        min=0.01,
        help="Minutes between checkpoints within an epoch; every epoch ends with one.",
        show_default="the config's, 10",
    ),
]


def train_command(
    records: RecordsOption = None,
    data: DataOption = None,
    config: ConfigOption = "auto",
    chunk: Annotated[
        int | None,
        typer.Option(
            "--chunk",
            metavar="K",
            min=1,
            help="Train on chunk K only (counted from 1), starting from the best weights of chunk K-1 if any.",
            show_default="all",
        ),
    ] = None,
    epochs: EpochsOption = None,
    resume: ResumeOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    mlflow_uri: MlflowOption = None,
    checkpoint_every: CheckpointOption = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Train a detector from scratch, or from the chunk before.

    Every epoch ends with a validation; the best weights are kept in the run's checkpoints/best.npz.
    """
    extra = _overrides("train", overrides, epochs, seed, mlflow_uri, checkpoint_every)
    _run("train", records, data, config, extra, chunk, None, resume, dry_run, as_json, quiet, verbose)


def finetune_command(
    records: RecordsOption = None,
    data: DataOption = None,
    config: ConfigOption = "auto",
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN|WEIGHTS",
            help="What to fine-tune: a run (path or name) or a .npz file.",
            show_default="the newest run",
        ),
    ] = None,
    epochs: EpochsOption = None,
    resume: ResumeOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    mlflow_uri: MlflowOption = None,
    checkpoint_every: CheckpointOption = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Fine-tune trained weights on all training images, gently for the backbone."""
    extra = _overrides("finetune", overrides, epochs, seed, mlflow_uri, checkpoint_every)
    _run("finetune", records, data, config, extra, None, start_from, resume, dry_run, as_json, quiet, verbose)


def _overrides(
    section: str,
    overrides: list[str] | None,
    epochs: int | None,
    seed: int | None,
    mlflow_uri: str | None,
    checkpoint_every: float | None,
) -> list[str]:
    flags = {
        f"{section}.epochs": epochs,
        "seed": seed,
        "workspace.mlflow_uri": mlflow_uri,
        "checkpoint_minutes": checkpoint_every,
    }
    return [*(overrides or []), *(f"{key}={value}" for key, value in flags.items() if value is not None)]


def _run(
    verb: str,
    records: Path | None,
    data: Path | None,
    config: str,
    overrides: list[str],
    chunk: int | None,
    start_from: str | None,
    resume: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    from fcoslite.backend import load_backend
    from fcoslite.config import WorkspaceSettings, load_settings
    from fcoslite.console import Terminal
    from fcoslite.errors import ConfigError
    from fcoslite.runs import find_weights, open_run

    terminal = Terminal(as_json, quiet, verbose)
    if resume is not None:
        if overrides or records or data or chunk or start_from or config != "auto":
            raise ConfigError("--resume goes on with the run's own settings", "leave the other flags out")
        run = open_run(resume, Path(WorkspaceSettings().runs))
        load_backend()
        from fcoslite.training.plan import plan_resume

        plan, settings = plan_resume(run), run.settings()
    else:
        if config != "auto":
            load_settings(config, overrides)  # a wrong key is told before TensorFlow is loaded
        load_backend()
        from fcoslite.training.memory import machine_tier
        from fcoslite.training.plan import plan_run

        if config == "auto":
            tier = machine_tier()
            config = tier.config
            terminal.note(f"config {tier.config}: {tier.reason}")
        settings = load_settings(config, overrides)
        runs = Path(settings.workspace.runs)
        weights = find_weights(start_from, runs) if verb == "finetune" else None
        folder = records or Path(settings.workspace.records)
        plan = plan_run(verb, settings, folder, data, chunk, weights)
    if dry_run:
        terminal.result(plan.describe())
        return

    from fcoslite.training import loop
    from fcoslite.training.memory import limit_memory

    limit_memory(settings.compute.memory_limit_mb)
    if resume is not None:
        result = loop.resume(plan, run, terminal.progress)
    else:
        result = loop.train(plan, runs, terminal.progress)
    document = {
        "run": str(result.run.path),
        "weights": str(result.run.best_weights),
        "epochs": result.epochs,
        "stopped_early": result.stopped_early,
        "best_epoch": result.best["epoch"],
        **{key: value for key, value in result.best.items() if key not in ("epoch", "step")},
    }
    shown = (
        "run",
        "weights",
        "epochs",
        "best_epoch",
        "loss",
        "val_loss",
        "val_ap",
        "val_ap50",
        "images_per_second",
    )
    if as_json:
        terminal.result(document)
    else:
        terminal.result({key: document[key] for key in shown if key in document})
