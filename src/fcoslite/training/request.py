"""What is asked of `train` and `finetune`, in the words of their flags: planned, and carried out."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcoslite.config.listeners import (
    ON_RECORDS,
    WITH_CHUNK,
    WITH_TEACHER,
    WITHOUT_PLACE,
    check_overrides,
    overridden_keys,
)
from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.errors import ConfigError, RunError
from fcoslite.machine.backend import load_backend
from fcoslite.machine.distribute import all_or_none, gather, share_batches
from fcoslite.machine.gpus import limit_memory
from fcoslite.machine.tiers import machine_tier
from fcoslite.progress import Progress, no_progress
from fcoslite.runs.find_weights import find_weights
from fcoslite.runs.mlflow_uri import refuse_password
from fcoslite.runs.run import Run, open_run
from fcoslite.training.resume import settings_to_resume

if TYPE_CHECKING:
    from fcoslite.data.formats.box_forms import BoxForm
    from fcoslite.data.formats.open import Format
    from fcoslite.training.plan import TrainingPlan
    from fcoslite.training.result import TrainingResult

_log = logging.getLogger("fcoslite")

AUTO = "auto"


@dataclass(frozen=True)
class TrainingRequest:
    """What is asked for. What is wrong with it is told before Keras is loaded, as far as that can be.

    Attributes:
        verb: `train` or `finetune`.
        config: A file or a packaged config; `auto` picks one by the GPU's memory.
        overrides: `section.key=value`, as of --set.
        values: Settings that have flags of their own, by `section.key`.
        records: Folder of records, None for the workspace's.
        data: A data set of any format, instead of records.
        skip_bad_records: Go without records that are damaged, instead of refusing them.
        chunk: Train on this chunk only, counted from 1.
        start_from: What to fine-tune, in the words of `runs.find_weights`.
        teacher: What to ask about every view, in the words of `training.teacher.find_teacher`.
        resume: The run to go on with, by path or name; None starts a new one. All else must agree with it.
        form: Format of `data`; None: recognised.
        boxes: What the numbers of a box of COCO are, if not x, y, width, height in pixels.
        rehearse: A data set of any format, of which images are learned from beside `data`.
    """

    verb: str
    config: str = AUTO
    overrides: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    records: Path | None = None
    data: Path | None = None
    skip_bad_records: bool = False
    chunk: int | None = None
    start_from: str | None = None
    teacher: str | None = None
    resume: str | None = None
    form: "Format | None" = None
    boxes: "BoxForm" = "xywh"
    rehearse: Path | None = None

    @property
    def named_config(self) -> str | None:
        """The config, if one was named."""
        return None if self.config == AUTO else self.config


def plan_request(request: TrainingRequest, progress: Progress = no_progress) -> "tuple[TrainingPlan, Run | None]":
    """The plan that a request comes to, and the run to go on with, if one is.

    From here on no more GPU memory is taken than its settings allow.

    Args:
        request: What is asked for.
        progress: Told about the shards of records that are checked.

    Raises:
        ConfigError: A setting cannot be used, or is another than the run's.
        RunError: There is no such run, another command started it, or its files are incomplete.
        WeightsError: The weights to start from cannot be used.
        DataError: The data cannot be used, or is other data than the run was started on.
    """
    return _plan_new(request, progress) if request.resume is None else _plan_again(request.resume, request, progress)


def plan_together(request: TrainingRequest, progress: Progress = no_progress) -> "tuple[TrainingPlan, Run | None]":
    """`plan_request` in each of the processes that train together; all of them must call it.

    Raises:
        ConfigError: They have come to different settings.
        ClusterError: Another one cannot plan it.
        FcosliteError: As of `plan_request`.
    """
    plan, run = all_or_none(lambda: plan_request(request, progress))
    first, *others = gather(plan.settings.to_yaml())
    if any(other != first for other in others):
        raise ConfigError("the processes that train together have different settings", "name a config: -c NAME")
    return plan, run


def carry_out(
    plan: "TrainingPlan",
    run: Run | None,
    progress: Progress = no_progress,
    created: Callable[[Run], object] = lambda run: None,
) -> "TrainingResult":
    """Train what was planned.

    Args:
        plan: What to do.
        run: To go on with; None starts one.
        progress: Shown while training and validating.
        created: Called with a run that is started, before it is trained.
    """
    from fcoslite.training import loop

    share_batches(plan.settings.compute.batch_size)
    if run is not None:
        return loop.resume(plan, run, progress)
    return loop.train(plan, Path(plan.settings.workspace.runs), progress, created)


def _plan_new(request: TrainingRequest, progress: Progress) -> "tuple[TrainingPlan, None]":
    settings = _settings(request)
    weights = find_weights(request.start_from, Path(settings.workspace.runs)) if request.verb == "finetune" else None
    if request.records is not None and request.data is not None:
        raise ConfigError("--records and --data exclude each other", "give one of them")
    if request.rehearse is not None and request.data is None:
        raise ConfigError("--rehearse goes with --data", "name the data set to learn from with --data")
    from fcoslite.training.plan import plan_run

    plan = plan_run(
        request.verb,
        settings,
        records=request.records,
        data=request.data,
        chunk=request.chunk,
        start_from=weights,
        skip_bad_records=request.skip_bad_records,
        progress=progress,
        teacher=request.teacher,
        form=request.form,
        boxes=request.boxes,
        rehearse=request.rehearse,
    )
    return plan, None


def _settings(request: TrainingRequest) -> Settings:
    # a wrong key is told before TensorFlow is loaded
    settings = load_settings(request.named_config, request.overrides, request.values)
    check_overrides(request.verb, request.overrides, set(_circumstances(request)))
    refuse_password(settings.workspace.mlflow_uri)
    load_backend()
    if request.named_config is None:
        tier = machine_tier()
        _log.info("config %s: %s", tier.config, tier.reason)
        settings = load_settings(tier.config, request.overrides, request.values)
    limit_memory(settings.compute.memory_limit_mb)
    _refuse_late_mosaic(request, settings)
    return settings


def _refuse_late_mosaic(request: TrainingRequest, settings: Settings) -> None:
    """Of an override that would change nothing, as `check_overrides` of the others."""
    named = {key for override in request.overrides for key in overridden_keys(override)}
    epochs = (settings.train if request.verb == "train" else settings.finetune).epochs
    augment = settings.augment
    if "augment.mosaic" in named and augment.mosaic and augment.mosaic_off_epochs >= epochs:
        raise ConfigError(
            f"--set augment.mosaic: the last {augment.mosaic_off_epochs} epochs have none, and there are {epochs}",
            f"add --set augment.mosaic_off_epochs={epochs // 3}, or leave it out",
        )


def _circumstances(request: TrainingRequest) -> Iterator[str]:
    if request.data is None:
        yield ON_RECORDS
    if request.data is None and request.records is None:
        yield WITHOUT_PLACE
    if request.chunk is not None:
        yield WITH_CHUNK
    if request.teacher is not None:
        yield WITH_TEACHER


def _plan_again(name: str, request: TrainingRequest, progress: Progress) -> "tuple[TrainingPlan, Run]":
    runs = Path(load_settings(request.named_config, request.overrides, request.values).workspace.runs)
    run = open_run(name, runs)
    facts = run.facts()
    if facts.get("verb") != request.verb:
        raise RunError(f"{run.path} was started by `fcoslite {facts.get('verb')}`", "resume it with that command")
    if request.chunk is not None and request.chunk != facts.get("chunk"):
        raise ConfigError(f"{run.path} trains chunk {facts.get('chunk')}, not {request.chunk}", "leave --chunk out")
    if request.form is not None and request.form != facts.get("format"):
        raise ConfigError(f"{run.path} was not started with --format {request.form}", "leave --format out")
    if request.boxes not in ("xywh", facts.get("boxes")):
        raise ConfigError(f"{run.path} was not started with --boxes {request.boxes}", "leave --boxes out")
    if request.rehearse is not None and "rehearse" not in facts:
        raise ConfigError(f"{run.path} was not started with --rehearse", "leave --rehearse out")
    if request.start_from is not None:
        asked = str(find_weights(request.start_from, runs).resolve())
        if asked != facts.get("start_from"):
            raise ConfigError(f"{run.path} started from {facts.get('start_from')}", "leave --from out")
    settings = settings_to_resume(run, request.named_config, request.overrides, request.values)
    refuse_password(settings.workspace.mlflow_uri)
    load_backend()
    limit_memory(settings.compute.memory_limit_mb)
    from fcoslite.training.plan import plan_resume

    plan = plan_resume(
        run,
        records=request.records,
        data=request.data,
        skip_bad_records=request.skip_bad_records,
        progress=progress,
        settings=settings,
        teacher=request.teacher,
        rehearse=request.rehearse,
    )
    return plan, run
