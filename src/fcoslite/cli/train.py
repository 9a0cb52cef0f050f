"""`fcoslite train` and `fcoslite finetune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcoslite.cli.options import (
    AddressOption,
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
    to_place,
    with_terminal,
)

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal
    from fcoslite.training.ray_training import Workers
    from fcoslite.training.request import TrainingRequest
    from fcoslite.training.result import TrainingResult

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        parser=to_place,
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
WorkersOption = Annotated[
    str | None,
    typer.Option(
        "--workers",
        metavar="N|MIN..MAX",
        help="Train on a Ray cluster (extra `ray`), in as many processes; on JAX.",
        show_default="this process",
    ),
]
GpusOption = Annotated[
    int | None,
    typer.Option(
        "--gpus-per-worker",
        metavar="G",
        min=0,
        help="GPUs of each of the --workers.",
        show_default="1 if the cluster has any",
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
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
    address: AddressOption = None,
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
    _run(terminal, request, dry_run, distributed, _workers(workers, gpus_per_worker, address, distributed))


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
    rehearse: Annotated[
        Path | None,
        typer.Option(
            "--rehearse",
            metavar="DATA",
            parser=to_place,
            help="Also learn from as many images of this data set as --data has, so that what they show is not "
            "forgotten.",
            show_default="none",
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
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
    address: AddressOption = None,
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
        rehearse=rehearse,
    )
    _run(terminal, request, dry_run, distributed, _workers(workers, gpus_per_worker, address, distributed))


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


def _workers(text: str | None, gpus: int | None, address: str | None, distributed: bool) -> "Workers | None":
    from fcoslite.errors import ConfigError

    if text is None:
        if gpus is not None or address is not None:
            raise ConfigError("--gpus-per-worker and --address are for --workers", "give --workers, such as 2")
        return None
    if distributed:
        raise ConfigError(
            "--distributed and --workers exclude each other",
            "--workers has Ray start the processes, --distributed is for one that a launcher has started",
        )
    from fcoslite.training.ray_training import Workers

    return Workers.parse(text, gpus, address)


def _run(
    terminal: "Terminal", request: "TrainingRequest", dry_run: bool, distributed: bool, workers: "Workers | None"
) -> None:
    from fcoslite.machine.distribute import group, join
    from fcoslite.progress import no_progress
    from fcoslite.training.request import carry_out, plan_together

    if workers is not None and not dry_run:
        from fcoslite.training.ray_training import train_on_ray

        _show(terminal, train_on_ray(request, workers, terminal.progress))
        return
    if distributed:
        join()
    progress = terminal.progress if group().first else no_progress
    plan, run = plan_together(request, progress)
    if dry_run:
        if group().first:
            terminal.result(plan.describe())
        return
    result = carry_out(plan, run, progress)
    if group().first:
        _show(terminal, result)


def _show(terminal: "Terminal", result: "TrainingResult") -> None:
    best = {key: value for key, value in result.best.items() if key not in ("epoch", "step")}
    document = {
        "run": str(result.run.path),
        "weights": str(result.run.best_weights),
        "epochs": result.epochs,
        "stopped_early": result.stopped_early,
        "best_epoch": result.best["epoch"],
        **best,
    }
    facts = result.run.facts()
    if "skipped_records" in facts:
        document["skipped_records"] = facts["skipped_records"]
    judged = () if result.kept else ("val_loss", "val_ap", "val_ap50")  # of other weights than are kept
    shown = ("run", "weights", "skipped_records", "epochs", "best_epoch", "loss", *judged, "images_per_second")
    if result.kept is not None:
        document["keep"] = result.kept
    terminal.result(document if terminal.as_json else {key: document[key] for key in shown if key in document})
    if result.kept is not None and not terminal.as_json:
        from fcoslite.cli.kept import show_kept

        show_kept(terminal, result.kept)
