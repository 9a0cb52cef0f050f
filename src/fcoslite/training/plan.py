"""The plan of a run, decided before anything is built: settings, data, split, weights to start from."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcoslite.config.settings import ModelSettings, ScheduleSettings, Settings
from fcoslite.data.dataset import Dataset, RehearsedImage
from fcoslite.data.formats.box_forms import BoxForm
from fcoslite.data.formats.open import Format, data_of_run
from fcoslite.data.sources.folder import FolderSource, fingerprint_of
from fcoslite.data.sources.records import RecordSource
from fcoslite.data.sources.source import Source, steps_per_pass
from fcoslite.data.sources.split import split, split_dataset
from fcoslite.errors import ConfigError, DataError, RunError
from fcoslite.evaluation.evaluation import check_source
from fcoslite.models.backbones import BACKBONES
from fcoslite.models.detector import build_detector
from fcoslite.models.header import model_settings
from fcoslite.models.presets import architecture
from fcoslite.progress import Progress, no_progress
from fcoslite.runs.find_weights import find_backbone, newest_run, run_of
from fcoslite.runs.run import Run, warn_of_change
from fcoslite.runs.summary import FINISHED, end_state
from fcoslite.storage.places import place
from fcoslite.storage.space import check_writable, free_bytes
from fcoslite.training.keep import settle_keep
from fcoslite.training.teacher import Teacher, check_teacher, find_teacher, teacher_to_resume

_log = logging.getLogger("fcoslite")


@dataclass(frozen=True)
class TrainingPlan:
    """What a run will do; shown by --dry-run.

    Attributes:
        verb: `train` or `finetune`; also the section of the settings that holds its schedule.
        settings: Complete, with the classes and image size of the data.
        training: Images to train on.
        validation: Images to validate on; None where there are none.
        facts: Chunk, data and parent, for run.json.
        start_from: Weights to start from; None starts from random ones.
        teacher: What is asked about every view; None: nothing.
    """

    verb: str
    settings: Settings
    training: Source
    validation: Source | None
    facts: Mapping[str, Any]
    start_from: Path | None = None
    teacher: Teacher | None = None

    @property
    def schedule(self) -> ScheduleSettings:
        """Epochs, learning rate and regularisation."""
        return self.settings.finetune if self.verb == "finetune" else self.settings.train

    @property
    def keeps(self) -> bool:
        """Whether the weights from before are averaged with the fine-tuned ones at the end."""
        return self.verb == "finetune" and self.settings.finetune.keep is not None

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch."""
        passed = steps_per_pass(len(self.training), self.settings.compute.batch_size)
        return self.schedule.steps_per_epoch or passed

    @property
    def name(self) -> str:
        """The middle of the run's name."""
        chunk = self.facts.get("chunk")
        return self.settings.name + (f"-chunk{chunk}" if chunk else "")

    @property
    def beginning(self) -> str:
        """What training starts from, in words."""
        backbone = self.settings.model.backbone_weights
        return str(self.start_from or (f"backbone {backbone}" if backbone else "random weights"))

    def needed_bytes(self, parameters: int) -> int:
        """Space for weights and checkpoints of a model of that many parameters."""
        # weights, Adam's two moments, accumulated gradients, averages
        state = 3 + (self.settings.compute.accumulation > 1) + (self.schedule.ema > 0)
        # two states are kept while the next is written; so are best and last weights, and those from before
        return 4 * parameters * (3 * state + 3 + 2 * self.keeps)

    def describe(self) -> dict[str, Any]:
        """The plan in plain words, for --dry-run; a model is built to know its size."""
        compute, schedule = self.settings.compute, self.schedule
        model = self.settings.model.model_copy(update={"backbone_weights": None})
        parameters = build_detector(model).network.count_params()
        return {
            "verb": self.verb,
            "config": self.settings.name,
            "preset": self.settings.model.preset,
            "classes": list(self.training.class_names),
            "image_size": self.settings.model.image_size,
            "training_images": len(self.training),
            "validation_images": len(self.validation) if self.validation is not None else 0,
            **self.facts,
            "start_from": self.beginning,
            "batch_size": compute.batch_size,
            "accumulation": compute.accumulation,
            "epochs": schedule.epochs,
            "steps_per_epoch": self.steps_per_epoch,
            "learning_rate": schedule.lr_max,
            **({"keep": self.settings.finetune.keep} if self.keeps else {}),
            "needed_disk_mb": round(self.needed_bytes(parameters) / 1e6),
            "free_disk_mb": round(free_bytes(Path(self.settings.workspace.runs)) / 1e6),
        }


def plan_run(
    verb: str,
    settings: Settings,
    records: Path | None = None,
    data: Path | None = None,
    chunk: int | None = None,
    start_from: Path | None = None,
    skip_bad_records: bool = False,
    progress: Progress = no_progress,
    teacher: str | None = None,
    form: Format | None = None,
    boxes: BoxForm = "xywh",
    rehearse: Path | None = None,
) -> TrainingPlan:
    """Open and check the data, split it, and settle what depends on it.

    Args:
        verb: `train` or `finetune`.
        settings: As configured; classes and image size are filled in from the data.
        records: Folder of records, None for the workspace's; used unless `data` is given.
        data: A data set of any format, read without records. Its own split into train and val is kept.
        chunk: Train on this chunk only, counted from 1, starting from the chunk before it where that was trained.
        start_from: Weights file to start from; its model takes the place of `settings.model`.
        skip_bad_records: Go without records that are damaged, instead of refusing them.
        progress: Told about the shards of records that are checked.
        teacher: In the words of `find_teacher`.
        form: Format of `data`; None: recognised.
        boxes: What the numbers of a box of COCO are, if not x, y, width, height in pixels.
        rehearse: A data set of any format, of which images are learned from beside `data`.

    Raises:
        WeightsError: The teacher's file cannot be used.
        ConfigError: The teacher cannot teach this model, or the model's settings do not fit together.
        DataError: The data cannot be used, is damaged, or has no such chunk; or runs cannot be written.
    """
    if start_from is not None:
        model = model_settings(start_from).model_copy(update={"image_size": settings.model.image_size})
        settings = settings.model_copy(update={"model": model})
    check_writable(Path(settings.workspace.runs), "name another folder: --set workspace.runs=FOLDER")
    training: Source
    validation: Source | None
    of_camera = False
    if data is not None:
        location = {"data": str(data.resolve()), **({"format": form} if form else {})}
        if boxes != "xywh":
            location["boxes"] = boxes
        if rehearse is not None:
            if chunk is not None:
                raise ConfigError("--rehearse is not for chunks", "leave one of them out")
            location["rehearse"] = str(rehearse.resolve())
        dataset = data_of_run(location, settings.model.classes)
        of_camera = any(image.capture is not None for image in dataset.images)
        training, validation = _from_folder(dataset, settings, chunk, skip_bad_records, progress)
    else:
        records = records or place(settings.workspace.records)
        location = {"records": str(records.resolve())}
        training, validation = _from_records(records, settings, chunk, skip_bad_records, progress)
    image_size = min(settings.model.image_size, training.image_size)
    if image_size < settings.model.image_size:
        _log.warning(
            "the records are letterboxed to %d pixels: training at that size, not at %d (build-records --size %d)",
            image_size,
            settings.model.image_size,
            settings.model.image_size,
        )
    update = {"image_size": image_size, "classes": settings.model.classes or training.class_names}
    settings = settings.model_copy(update={"model": settings.model.model_copy(update=update)})
    try:
        backbone = architecture(settings.model).backbone  # refuses what does not fit together, before anything is built
    except ConfigError as error:
        raise ConfigError(error.message, f"{error.hint}: build-records --size, if the records decide it") from None
    for source in (training, validation):
        if source is not None:
            check_source(settings.model.classes or (), settings.model.image_size, source)
    if start_from is None and settings.model.backbone_norms is not None and not BACKBONES[backbone].norms:
        known = ", ".join(name for name, each in BACKBONES.items() if each.norms)
        raise ConfigError(f"model.backbone_norms: {backbone} has no such choice", f"leave it out; it is for {known}")
    if start_from is None and settings.model.backbone_weights is not None:
        find_backbone(settings.model.backbone_weights)  # a wrong name is told now
    if verb == "finetune":
        settings = settle_keep(settings, of_camera, validation)
    facts: dict[str, Any] = {"chunk": chunk, **location, **_fingerprints(training)}
    parent = run_of(start_from) if start_from is not None and validation is not None else None
    if parent is not None:
        warn_of_change(parent, place(facts.get("data") or facts["records"]), training.fingerprint)
    found = None
    if teacher is not None:
        found = find_teacher(teacher, Path(settings.workspace.runs))
        check_teacher(found, settings.model)
        facts |= found.facts()
    if skip_bad_records:
        facts["skipped_records"] = _bad_records(training, validation)
    if chunk is not None and chunk > 1 and start_from is None:
        parent = chunk_parent(Path(settings.workspace.runs), chunk - 1, training.fingerprint, settings.model)
        if parent is not None and end_state(parent) != FINISHED:
            _log.warning("%s, which chunk %d starts from, was stopped before its end", parent.path, chunk)
        if parent is None:
            _log.warning("no run has trained chunk %d: starting afresh", chunk - 1)
        else:
            start_from = parent.best_weights
    plan = TrainingPlan(verb, settings, training, validation, facts, start_from, found)
    batches, accumulation = plan.schedule.epochs * plan.steps_per_epoch, settings.compute.accumulation
    if batches < accumulation:
        raise ConfigError(
            f"there are {batches} batches in all, and {accumulation} make one update: nothing would be learned",
            "take more epochs, or lower compute.accumulation",
        )
    return plan


def plan_resume(
    run: Run,
    records: Path | None = None,
    data: Path | None = None,
    skip_bad_records: bool = False,
    progress: Progress = no_progress,
    settings: Settings | None = None,
    teacher: str | None = None,
    rehearse: Path | None = None,
) -> TrainingPlan:
    """The plan a run was started with, to go on with it.

    Args:
        run: The run.
        records: Where its records are now, if they were moved.
        data: Where its COCO folder is now, if it was moved.
        skip_bad_records: Go without records that are damaged; a run that was started so goes on so.
        progress: Told about the shards of records that are checked.
        settings: From `settings_to_resume`; None for the run's own.
        teacher: Where its teacher is now, if it was moved.
        rehearse: Where what it rehearses is now, if that was moved.

    Raises:
        WeightsError: Its teacher is gone.
        ConfigError: Its teacher is another than it was started with.
        RunError: The run's files are incomplete, or it was trained on the other kind of data.
        DataError: Its data is gone, or is other data than it was started on.
    """
    facts, settings = run.facts(), settings or run.settings()
    if "verb" not in facts or not ("data" in facts or "records" in facts):
        raise RunError(f"{run.path}/run.json does not name its data", "start a new run")
    kind, other = ("data", records) if "data" in facts else ("records", data)
    if other is not None:
        raise RunError(
            f"{run.path} was started with --{kind}", f"name their new place with --{kind}, if they were moved"
        )
    chunk = facts.get("chunk")
    skip = skip_bad_records or "skipped_records" in facts
    training: Source
    validation: Source | None
    if "data" in facts:
        dataset = data_of_run(facts, settings.model.classes, data, rehearse)
        training, validation = _from_folder(dataset, settings, chunk, skip, progress)
    else:
        training, validation = _from_records(records or place(facts["records"]), settings, chunk, skip, progress)
    if skip:
        facts["skipped_records"] = _bad_records(training, validation)  # from now on, as `resume` records
    asked = {"data": data, "records": records, "rehearse": rehearse}
    for name, found_now in _fingerprints(training).items():
        if found_now != facts.get(name):
            which = kind if name == "fingerprint" else "rehearse"
            own, now = place(facts[which]), asked[which]
            raise DataError(
                f"{now or own} is not what {run.path} was started on",
                (f"that was {own}; " if now is not None else "it has changed since; ")
                + "validation images may be among what is trained on now: start a new run, or name the old data",
            )
    start_from = Path(facts["start_from"]) if facts.get("start_from") else None
    found = teacher_to_resume(teacher, facts, Path(settings.workspace.runs))
    return TrainingPlan(str(facts["verb"]), settings, training, validation, facts, start_from, found)


def _from_records(
    folder: Path, settings: Settings, chunk: int | None, skip_bad: bool, progress: Progress
) -> tuple[RecordSource, RecordSource | None]:
    whole = RecordSource.open(folder, settings.data, settings.compute, skip_bad)
    parts = split(len(whole), settings.data)
    training = whole.part(parts.chunk(chunk)).checked(skip_bad, progress)
    return training, whole.part(parts.validation).checked(skip_bad, progress) if parts.validation else None


def _fingerprints(training: Source) -> dict[str, str]:
    found = {"fingerprint": training.fingerprint}
    if isinstance(training, FolderSource) and training.dataset.rehearsed is not None:
        found["rehearsed"] = fingerprint_of(training.dataset.rehearsed)
    return found


def _bad_records(*parts: Source | None) -> int:
    return sum(len(part.bad) for part in parts if part is not None)


def _from_folder(
    dataset: Dataset, settings: Settings, chunk: int | None, skip_bad: bool, progress: Progress
) -> tuple[FolderSource, FolderSource | None]:
    images, parts = split_dataset(dataset, settings.data, settings.seed)

    def open_range(positions: range) -> FolderSource:
        chosen = images[positions.start : positions.stop]
        source = FolderSource(dataset, chosen, settings.model.image_size, settings.compute.workers)
        return source.checked(skip_bad, progress)

    positions = parts.chunk(chunk)
    own = (images[position] for position in positions if not isinstance(images[position], RehearsedImage))
    if not any(len(image.class_ids) for image in own):
        names = ", ".join(dataset.class_names)
        raise DataError(
            f"{dataset.folder}: none of {len(positions):,} images to train on has a box of {names}",
            "there is nothing to learn: are the labels where the format has them? see the warnings above",
        )
    return open_range(positions), open_range(parts.validation) if parts.validation else None


def chunk_parent(folder: Path, chunk: int, fingerprint: str, model: ModelSettings) -> Run | None:
    """The newest run that trained `chunk` of the same data with the same model, and has weights.

    What its backbone started from is no matter: its weights bring all of it.
    """

    def shape(model: ModelSettings) -> ModelSettings:
        return model.model_copy(update={"backbone_weights": None})

    def trained_it(run: Run) -> bool:
        facts = run.facts()
        return (
            (facts.get("chunk"), facts.get("fingerprint")) == (chunk, fingerprint)
            and run.best_weights.is_file()
            and shape(run.settings().model) == shape(model)
        )

    return newest_run(folder, trained_it)
