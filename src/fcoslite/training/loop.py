"""The whole training procedure: settings and records in, a run with weights out."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from fcoslite.backend import compile_with_xla
from fcoslite.boxes import Tensor
from fcoslite.config import ScheduleSettings, Settings
from fcoslite.data.augment import Augment, resize, unpack
from fcoslite.data.pipeline import Batch
from fcoslite.errors import RunError
from fcoslite.evaluation.evaluator import Evaluator
from fcoslite.losses import detection_losses
from fcoslite.models.detector import Detector, build_detector
from fcoslite.models.weights import load_backbone, load_weights
from fcoslite.progress import Progress, no_progress
from fcoslite.runs import Run, best_line, create_run, find_backbone
from fcoslite.training.callbacks import Journal, ShowProgress
from fcoslite.training.checkpoint import Position, has_state, load_state
from fcoslite.training.memory import choose_precision, environment
from fcoslite.training.optimizer import build_optimizer
from fcoslite.training.plan import TrainingPlan
from fcoslite.training.trackers import MlflowTracker

_log = logging.getLogger("fcoslite")


@dataclass(frozen=True)
class TrainingResult:
    """What a run has done.

    Attributes:
        run: Its directory.
        epochs: Finished, in all.
        stopped_early: By the validation loss.
        metrics: The last line of metrics.jsonl.
        best: The line of the best weights.
    """

    run: Run
    epochs: int
    stopped_early: bool
    metrics: dict[str, Any]
    best: dict[str, Any]


class TrainingModel(keras.Model):
    """A detector with what surrounds it in training: normalising, augmentation, assignment and losses.

    A batch goes in whole; its boxes come out beside the outputs, because augmentation moves them.
    """

    def __init__(self, detector: Detector, settings: Settings) -> None:
        # float32: the policy of the network's own layers is theirs; boxes and losses need the bits
        super().__init__(name="training", dtype="float32")
        self.network = detector.network
        self.detector = detector
        self.loss_settings = settings.loss
        self.augment = Augment(settings.augment, detector.image_size, settings.compute.batch_size, settings.seed)
        self.class_loss = keras.metrics.Mean(name="class_loss")
        self.box_loss = keras.metrics.Mean(name="box_loss")
        self.quality_loss = keras.metrics.Mean(name="quality_loss")

    def build(self, input_shape: Any = None) -> None:
        """Nothing to do: the network is built."""

    def switch_mosaic(self, on: bool) -> None:
        """Train with or without the mosaics that the settings ask for."""
        if not on and self.augment.mosaics:
            self.augment.mosaics = 0
            self.train_function = None  # Keras compiles it anew

    def call(self, batch: Mapping[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Batch of `data.pipeline` -> outputs, and the boxes they belong to."""
        images, boxes = unpack(batch)
        if training:
            images, boxes = self.augment(images, boxes)
        else:
            images, boxes = resize(images, boxes, self.detector.image_size)
        return {**self.network(images, training=training), "boxes": boxes}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Assign the boxes, compute the losses, note their parts."""
        shape, size = self.detector.architecture, self.detector.image_size
        classes = len(self.detector.class_names)
        losses = detection_losses(y_pred, y_pred["boxes"], shape, size, classes, self.loss_settings)
        self.class_loss.update_state(losses.classes)
        self.box_loss.update_state(losses.boxes)
        self.quality_loss.update_state(losses.quality)
        return losses.total


def build_training_model(
    detector: Detector, settings: Settings, schedule: ScheduleSettings, steps: int
) -> TrainingModel:
    """A compiled model; `steps` is the number of batches of the whole run.

    `detector` must have been built with the precision of the settings.
    """
    compute = settings.compute
    model = TrainingModel(detector, settings)
    optimizer = build_optimizer(schedule, compute.accumulation, steps)
    if choose_precision(compute.precision) == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer=optimizer, jit_compile=compile_with_xla(compute.compile))
    # now, not at the first step: a state can be loaded before training starts
    optimizer.build(model.trainable_variables)
    return model


def train(plan: TrainingPlan, runs: Path, progress: Progress = no_progress) -> TrainingResult:
    """Start a run and train it to its end.

    Args:
        plan: What to do.
        runs: Folder that gets the run's directory.
        progress: Shown while training and validating.

    Raises:
        FcosliteError: The weights to start from do not fit; no run is left behind.
    """
    detector = _build(plan, fresh=True)
    if plan.start_from is not None:
        load_weights(detector, plan.start_from)
    facts = {**plan.facts, "start_from": str(plan.start_from or "")}
    run = create_run(runs, plan.verb, plan.name, plan.settings, facts)
    run.write_json("environment.json", environment())
    with _console_log(run):
        _log.info("%s: %d images, from %s", run.path, len(plan.training), plan.beginning)
        return _fit(plan, detector, run, progress, resume=False)


def resume(plan: TrainingPlan, run: Run, progress: Progress = no_progress) -> TrainingResult:
    """Go on with a run from its newest checkpoint, in the middle of an epoch if need be.

    Raises:
        RunError: The run holds no state to go on from, or is finished.
    """
    with _console_log(run):
        return _fit(plan, _build(plan, fresh=False), run, progress, resume=True)


def _build(plan: TrainingPlan, fresh: bool) -> Detector:
    """A detector; unless `fresh`, its weights are about to be loaded, and a backbone's file may be gone."""
    settings = plan.settings
    model, precision = settings.model, choose_precision(settings.compute.precision)
    if not fresh:
        model = model.model_copy(update={"backbone_weights": None})
    detector = build_detector(model, precision, seed=settings.seed)
    if model.backbone_weights is not None and detector.architecture.backbone != "resnet50":
        load_backbone(detector, find_backbone(model.backbone_weights))
    return detector


def _fit(plan: TrainingPlan, detector: Detector, run: Run, bar: Progress, resume: bool) -> TrainingResult:
    settings, schedule, steps = plan.settings, plan.schedule, plan.steps_per_epoch
    batch_size = settings.compute.batch_size
    model = build_training_model(detector, settings, schedule, schedule.epochs * steps)
    position = load_state(model, run.checkpoints) if resume else Position()
    if position.step >= schedule.epochs * steps or position.stale >= schedule.early_stopping_epochs:
        raise RunError(f"{run.path} is finished", "start a new run, or finetune from this one")
    if resume:
        run.truncate_metrics(position.step)
        _log.info("resuming %s at step %d of %d", run.name, position.step, schedule.epochs * steps)

    tracker = MlflowTracker(run, settings.workspace.mlflow_uri)
    journal = Journal(
        run=run,
        detector=detector,
        position=position,
        steps_per_epoch=steps,
        epochs=schedule.epochs,
        evaluator=Evaluator(detector, settings.loss, settings.evaluate, compile_with_xla(settings.compute.compile)),
        validation=plan.validation,
        validate_every=schedule.validate_every,
        batch_size=batch_size,
        patience=schedule.early_stopping_epochs,
        checkpoint_seconds=settings.checkpoint_minutes * 60,
        tracker=tracker,
        bar=bar,
    )
    left = (schedule.epochs * steps - position.step) * batch_size
    with bar(f"{plan.verb} {run.name}", left, "images") as advance:
        try:
            mosaic_epochs = schedule.epochs - settings.augment.mosaic_off_epochs
            for first, last, epoch_steps in _legs(position.step, steps, schedule.epochs, mosaic_epochs):
                model.switch_mosaic(first < mosaic_epochs)
                model.fit(
                    _as_inputs(plan.training.training_batches(batch_size, settings.seed, position.step)),
                    initial_epoch=first,
                    epochs=last,
                    steps_per_epoch=epoch_steps,
                    callbacks=[journal, ShowProgress(advance, batch_size, schedule.epochs)],
                    shuffle=False,  # the source has shuffled
                    verbose=0,
                )
                if journal.stopped_early:
                    break
        finally:
            tracker.close()
    lines = run.read_metrics()
    return TrainingResult(run, lines[-1]["epoch"], journal.stopped_early, lines[-1], best_line(lines) or lines[-1])


def _as_inputs(batches: Iterable[Batch]) -> Any:
    """Keras takes a generator's items for (inputs, targets) unless they are tuples of one; tf.data passes as it is."""
    return ((batch,) for batch in batches) if isinstance(batches, Iterator) else batches


def _legs(step: int, steps_per_epoch: int, epochs: int, change: int) -> Iterable[tuple[int, int, int]]:
    """(first epoch, end, batches an epoch) of the calls of fit: the rest of a broken epoch, then whole ones.

    No call goes on over epoch `change`, where training changes.
    """
    epoch, done = divmod(step, steps_per_epoch)
    if done:
        yield epoch, epoch + 1, steps_per_epoch - done
        epoch += 1
    for end in (change, epochs):
        if epoch < end:
            yield epoch, end, steps_per_epoch
            epoch = end


@contextmanager
def _console_log(run: Run) -> Iterator[None]:
    handler = logging.FileHandler(run.path / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = _log.level
    _log.setLevel(min(_log.getEffectiveLevel(), logging.INFO))
    _log.addHandler(handler)
    try:
        yield
    except KeyboardInterrupt:
        if has_state(run.checkpoints):
            _log.warning("stopped; `fcoslite train --resume %s` goes on from the last checkpoint", run.name)
        else:
            _log.warning("stopped before the first checkpoint; nothing was kept but the log")
        raise
    except BaseException as error:
        handler.handle(_log.makeRecord(_log.name, logging.ERROR, "", 0, f"stopped: {error!r}", (), None))
        raise
    finally:
        _log.removeHandler(handler)
        _log.setLevel(level)
        handler.close()
