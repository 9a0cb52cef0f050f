"""`fcoslite train` and `fcoslite finetune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcoslite.cli.options import (
    Boxes,
    BoxesOption,
    ConfigOption,
    DryRunFlag,
    FormatOption,
    MlflowOption,
    RecordsOption,
    SeedOption,
    SetOption,
    SkipBadRecordsFlag,
    with_terminal,
)

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal
    from fcoslite.training.loop import TrainingResult
    from fcoslite.training.plan import TrainingPlan
    from fcoslite.training.request import TrainingRequest

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Train on a data set instead of records: COCO, YOLO, Pascal VOC or CreateML. Its own train and val parts "
        "are kept.",
        show_default="none",
    ),
]
TeacherOption = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        metavar="lite|FILE|RUN",
        help="Also learn what this detector says of every view: packaged weights, a .npz file, a run, or an ONNX file "
        "that a YAML beside it describes (FILE.onnx:DESCRIPTION names another).",
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

DistributedFlag = Annotated[
    bool,
    typer.Option(
        "--distributed",
        help="Train together with the other processes that srun, mpirun, Kubernetes or torchrun have started; on JAX.",
    ),
]


@with_terminal
def train_command(
    records: RecordsOption = None,
    data: DataOption = None,
    form: FormatOption = None,
    boxes: BoxesOption = Boxes.xywh,
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
    teacher: TeacherOption = None,
    epochs: EpochsOption = None,
    resume: ResumeOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    mlflow_uri: MlflowOption = None,
    checkpoint_every: CheckpointOption = None,
    distributed: DistributedFlag = False,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Train a detector from scratch, from a pretrained backbone, or from the chunk before.

    Every epoch ends with a validation; the best weights are kept in the run's checkpoints/best.npz.
    """
    from fcoslite.training.request import TrainingRequest

    values = _values("train", epochs, seed, mlflow_uri, checkpoint_every)
    if init is not None:
        values["model.backbone_weights"] = init
    request = TrainingRequest(
        "train",
        config,
        overrides or (),
        values,
        records,
        data,
        skip_bad_records,
        chunk=chunk,
        teacher=teacher,
        resume=resume,
        form=form.value if form else None,
        boxes=boxes.value,
    )
    _run(terminal, request, dry_run, distributed)


@with_terminal
def finetune_command(
    records: RecordsOption = None,
    data: DataOption = None,
    form: FormatOption = None,
    boxes: BoxesOption = Boxes.xywh,
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
    teacher: TeacherOption = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="auto|0..1",
            help="At the end, average this share of the weights from before with the fine-tuned ones, so that what was "
            "known stays; auto chooses it on held-out images and on the package's photographs.",
            show_default="auto for frames of a camera, else none",
        ),
    ] = None,
    epochs: EpochsOption = None,
    resume: ResumeOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    mlflow_uri: MlflowOption = None,
    checkpoint_every: CheckpointOption = None,
    distributed: DistributedFlag = False,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Fine-tune trained weights on all training images, gently for the backbone."""
    from fcoslite.training.request import TrainingRequest

    values = _values("finetune", epochs, seed, mlflow_uri, checkpoint_every)
    if keep is not None:
        values["finetune.keep"] = _number_or_word(keep)
    request = TrainingRequest(
        "finetune",
        config,
        overrides or (),
        values,
        records,
        data,
        skip_bad_records,
        start_from=start_from,
        teacher=teacher,
        resume=resume,
        form=form.value if form else None,
        boxes=boxes.value,
    )
    _run(terminal, request, dry_run, distributed)


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


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


def _run(terminal: "Terminal", request: "TrainingRequest", dry_run: bool, distributed: bool) -> None:
    from fcoslite.machine.distribute import all_or_none, group, join
    from fcoslite.progress import no_progress
    from fcoslite.training.request import carry_out, plan_request

    if distributed:
        join()
    progress = terminal.progress if group().first else no_progress
    plan, run = all_or_none(lambda: plan_request(request, progress))
    if dry_run:
        if group().first:
            terminal.result(plan.describe())
        return
    result = carry_out(plan, run, progress)
    if group().first:
        _show(terminal, plan, result)


def _show(terminal: "Terminal", plan: "TrainingPlan", result: "TrainingResult") -> None:
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
    judged = () if result.kept else ("val_loss", "val_ap", "val_ap50")  # of other weights than are kept
    shown = ("run", "weights", "skipped_records", "epochs", "best_epoch", "loss", *judged, "images_per_second")
    if result.kept is not None:
        document["keep"] = result.kept
    terminal.result(document if terminal.as_json else {key: document[key] for key in shown if key in document})
    if result.kept is not None and not terminal.as_json:
        from fcoslite.cli.kept import show_kept

        show_kept(terminal, result.kept)
