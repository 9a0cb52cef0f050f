"""`fcoslite train` and `fcoslite finetune`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcoslite.cli.options import (
    ConfigOption,
    DebugFlag,
    DryRunFlag,
    JsonFlag,
    MlflowOption,
    QuietFlag,
    RecordsOption,
    SeedOption,
    SetOption,
    SkipBadRecordsFlag,
    VerboseFlag,
)

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal
    from fcoslite.config.settings import Settings
    from fcoslite.runs.run import Run
    from fcoslite.training.plan import TrainingPlan

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
    skip_bad_records: SkipBadRecordsFlag = False,
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
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="NAME|FILE",
            help="Start the backbone from these weights: a .npz file, packaged weights, or "
            "efficientnet-lite0-imagenet.",
            show_default="model.backbone_weights of the config",
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
    """Train a detector from scratch, from a pretrained backbone, or from the chunk before.

    Every epoch ends with a validation; the best weights are kept in the run's checkpoints/best.npz.
    """
    values = _values("train", epochs, seed, mlflow_uri, checkpoint_every)
    if init is not None:
        values["model.backbone_weights"] = init
    terminal = _terminal(as_json, quiet, verbose)
    if resume is not None:
        asked = _Asked("train", config, overrides or [], values, chunk=chunk)
        plan, run = _resumed(terminal, resume, asked, records, data, skip_bad_records)
    else:
        settings = _settings(terminal, config, overrides or [], values)
        plan, run = _planned(terminal, "train", settings, records, data, skip_bad_records, chunk=chunk), None
    _run(terminal, plan, run, dry_run)


def finetune_command(
    records: RecordsOption = None,
    data: DataOption = None,
    skip_bad_records: SkipBadRecordsFlag = False,
    config: ConfigOption = "auto",
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="lite0|lite|FILE|RUN",
            help="What to fine-tune: packaged weights, a .npz file, or a run by path or name.",
            show_default="the newest run in ./runs, else lite0",
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
    values = _values("finetune", epochs, seed, mlflow_uri, checkpoint_every)
    terminal = _terminal(as_json, quiet, verbose)
    if resume is not None:
        asked = _Asked("finetune", config, overrides or [], values, start_from=start_from)
        plan, run = _resumed(terminal, resume, asked, records, data, skip_bad_records)
    else:
        from fcoslite.runs.find_weights import find_weights

        settings = _settings(terminal, config, overrides or [], values)
        weights = find_weights(start_from, Path(settings.workspace.runs))
        plan, run = _planned(terminal, "finetune", settings, records, data, skip_bad_records, start_from=weights), None
    _run(terminal, plan, run, dry_run)


def _values(
    section: str,
    epochs: int | None,
    seed: int | None,
    mlflow_uri: str | None,
    checkpoint_every: float | None,
) -> dict[str, Any]:
    flags = {
        f"{section}.epochs": epochs,
        "seed": seed,
        "workspace.mlflow_uri": mlflow_uri,
        "checkpoint_minutes": checkpoint_every,
    }
    return {key: value for key, value in flags.items() if value is not None}


def _terminal(as_json: bool, quiet: bool, verbose: bool) -> "Terminal":
    from fcoslite.cli.console import Terminal

    return Terminal(as_json, quiet, verbose)


def _settings(terminal: "Terminal", config: str, overrides: list[str], values: dict[str, Any]) -> "Settings":
    from fcoslite.config.load import load_settings
    from fcoslite.machine.backend import load_backend

    # a wrong key is told before TensorFlow is loaded
    settings = load_settings(None if config == "auto" else config, overrides, values)
    load_backend()
    if config != "auto":
        return settings
    from fcoslite.machine.tiers import machine_tier

    tier = machine_tier()
    terminal.note(f"config {tier.config}: {tier.reason}")
    return load_settings(tier.config, overrides, values)


def _planned(
    terminal: "Terminal",
    verb: str,
    settings: "Settings",
    records: Path | None,
    data: Path | None,
    skip_bad_records: bool,
    chunk: int | None = None,
    start_from: Path | None = None,
) -> "TrainingPlan":
    from fcoslite.errors import ConfigError
    from fcoslite.training.plan import plan_run

    if records is not None and data is not None:
        raise ConfigError("--records and --data exclude each other", "give one of them")
    return plan_run(verb, settings, records, data, chunk, start_from, skip_bad_records, terminal.progress)


@dataclass(frozen=True)
class _Asked:
    """What stood beside --resume."""

    verb: str
    config: str
    overrides: list[str]
    values: dict[str, Any]
    chunk: int | None = None
    start_from: str | None = None


def _resumed(
    terminal: "Terminal", name: str, asked: _Asked, records: Path | None, data: Path | None, skip_bad_records: bool
) -> tuple["TrainingPlan", "Run"]:
    from fcoslite.config.load import load_settings
    from fcoslite.errors import ConfigError, RunError
    from fcoslite.machine.backend import load_backend
    from fcoslite.runs.find_weights import find_weights
    from fcoslite.runs.run import open_run
    from fcoslite.training.resume import settings_to_resume

    config = None if asked.config == "auto" else asked.config
    runs = Path(load_settings(config, asked.overrides, asked.values).workspace.runs)
    run = open_run(name, runs)
    facts = run.facts()
    if facts.get("verb") != asked.verb:
        raise RunError(f"{run.path} was started by `fcoslite {facts.get('verb')}`", "resume it with that command")
    if asked.chunk is not None and asked.chunk != facts.get("chunk"):
        raise ConfigError(f"{run.path} trains chunk {facts.get('chunk')}, not {asked.chunk}", "leave --chunk out")
    if asked.start_from is not None and str(find_weights(asked.start_from, runs).resolve()) != facts.get("start_from"):
        raise ConfigError(f"{run.path} started from {facts.get('start_from')}", "leave --from out")
    settings = settings_to_resume(run, config, asked.overrides, asked.values)
    load_backend()
    from fcoslite.training.plan import plan_resume

    return plan_resume(run, records, data, skip_bad_records, terminal.progress, settings), run


def _run(terminal: "Terminal", plan: "TrainingPlan", run: "Run | None", dry_run: bool) -> None:
    if dry_run:
        terminal.result(plan.describe())
        return
    from fcoslite.machine.gpus import limit_memory
    from fcoslite.training import loop

    limit_memory(plan.settings.compute.memory_limit_mb)
    if run is not None:
        result = loop.resume(plan, run, terminal.progress)
    else:
        result = loop.train(plan, Path(plan.settings.workspace.runs), terminal.progress)
    best = {key: value for key, value in result.best.items() if key not in ("epoch", "step")}
    document = {
        "run": str(result.run.path),
        "weights": str(result.run.best_weights),
        "epochs": result.epochs,
        "stopped_early": result.stopped_early,
        "best_epoch": result.best["epoch"],
        **best,
    }
    if "skipped_records" in plan.facts:
        document["skipped_records"] = plan.facts["skipped_records"]
    shown = (
        "run",
        "weights",
        "skipped_records",
        "epochs",
        "best_epoch",
        "loss",
        "val_loss",
        "val_ap",
        "val_ap50",
        "images_per_second",
    )
    terminal.result(document if terminal.as_json else {key: document[key] for key in shown if key in document})
