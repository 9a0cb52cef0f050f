"""The whole training procedure: settings and records in, a run with weights out."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcoslite.data.sources.records import records_must_be_readable
from fcoslite.data.sources.source import Batch, BatchShare
from fcoslite.errors import FcosliteError, Interrupted, RunError
from fcoslite.evaluation.evaluation import Evaluates
from fcoslite.evaluation.evaluator import Evaluator
from fcoslite.machine.backend import compile_with_xla
from fcoslite.machine.distribute import (
    all_or_none,
    batches_are_shared,
    devices_of_a_batch,
    from_first,
    group,
    on_this_process_alone,
)
from fcoslite.machine.environment import environment
from fcoslite.machine.signals import StopRequest
from fcoslite.machine.tiers import choose_precision
from fcoslite.models.backbones import BACKBONES
from fcoslite.models.detector import Detector, build_detector
from fcoslite.models.weights import load_backbone, load_weights, save_weights
from fcoslite.progress import Progress, no_progress
from fcoslite.runs.find_weights import find_backbone
from fcoslite.runs.mlflow_thread import MlflowTracker
from fcoslite.runs.run import LogFile, Run, best_line, create_run
from fcoslite.runs.summary import FINISHED, end_state
from fcoslite.storage.locks import locked
from fcoslite.storage.space import check_free_space
from fcoslite.training.checkpoint import Position, has_state, load_state
from fcoslite.training.finite_check import FiniteCheck
from fcoslite.training.journal import Journal
from fcoslite.training.keep import keep_known
from fcoslite.training.model import build_training_model
from fcoslite.training.out_of_memory import halve_batch, out_of_memory
from fcoslite.training.plan import TrainingPlan
from fcoslite.training.progress_bar import ShowProgress
from fcoslite.training.recorder import Recorder
from fcoslite.training.result import TrainingResult
from fcoslite.training.shared_evaluation import SharedEvaluator
from fcoslite.training.teacher import load_teacher

_log = logging.getLogger("fcoslite")

_MAKE_ROOM = "make room, or name another disk: --set workspace.runs=FOLDER"


def train(
    plan: TrainingPlan,
    runs: Path,
    progress: Progress = no_progress,
    created: Callable[[Run], object] = lambda run: None,
) -> TrainingResult:
    """Start a run and train it to its end.

    Args:
        plan: What to do.
        runs: Folder that gets the run's directory.
        progress: Shown while training and validating.
        created: Called with the run before it is trained.

    Raises:
        FcosliteError: The weights to start from do not fit, or the disk is too small; no run is left behind.
    """
    precision = from_first(lambda: choose_precision(plan.settings.compute.precision))
    compute = plan.settings.compute.model_copy(update={"precision": precision})
    # a run that goes on elsewhere keeps to it
    plan = replace(plan, settings=plan.settings.model_copy(update={"compute": compute}))
    detector = all_or_none(lambda: _build(plan, fresh=True))
    start_from = str(plan.start_from.resolve()) if plan.start_from is not None else ""

    def create() -> Run:
        check_free_space(runs, plan.needed_bytes(detector.network.count_params()), _MAKE_ROOM)
        return create_run(runs, plan.verb, plan.name, plan.settings, {**plan.facts, "start_from": start_from})

    run = from_first(create)
    created(run)
    with _recorded(run):
        return _begin(plan, detector, run, progress)


def resume(plan: TrainingPlan, run: Run, progress: Progress = no_progress) -> TrainingResult:
    """Go on with a run from its newest checkpoint, in the middle of an epoch if need be; a finished one stays so.

    Raises:
        RunError: The run's checkpoints are all damaged.
        BusyError: Another process trains it.
    """
    with _recorded(run):
        begun = from_first(lambda: has_state(run.checkpoints))
        detector = all_or_none(lambda: _build(plan, fresh=not begun))

        def prepare() -> None:
            run.write_settings(plan.settings)
            run.write_json("run.json", plan.facts)
            written = sum(path.stat().st_size for path in run.checkpoints.glob("*.npz"))
            check_free_space(run.path, plan.needed_bytes(detector.network.count_params()) - written, _MAKE_ROOM)

        from_first(prepare)
        if not begun:
            return _begin(plan, detector, run, progress)
        return _fit_in_memory(plan, detector, run, progress, resume=True)


def _begin(plan: TrainingPlan, detector: Detector, run: Run, progress: Progress) -> TrainingResult:
    if group().first:
        run.write_json("environment.json", environment())
        if plan.keeps:
            save_weights(detector, run.before_weights)  # where it came from may be gone when training ends
    _log.info("%s: %d images, from %s", run.path, len(plan.training), plan.beginning)
    return _fit_in_memory(plan, detector, run, progress, resume=False)


def _build(plan: TrainingPlan, fresh: bool) -> Detector:
    """A detector; unless `fresh`, its weights are about to be loaded, and the files it began with may be gone."""
    settings = plan.settings
    model, precision = settings.model, choose_precision(settings.compute.precision)
    if not fresh:
        model = model.model_copy(update={"backbone_weights": None})
    detector = build_detector(model, precision, seed=settings.seed)
    if model.backbone_weights is not None and not BACKBONES[detector.architecture.backbone].keras_file:
        load_backbone(detector, find_backbone(model.backbone_weights))
    if fresh and plan.start_from is not None:
        load_weights(detector, plan.start_from)
    return detector


def _fit_in_memory(
    plan: TrainingPlan, detector: Detector, run: Run, progress: Progress, resume: bool
) -> TrainingResult:
    """Train; when the accelerator's memory does not suffice, go on with half the batch and twice the accumulation."""
    with _tracker(plan, run) as tracker:
        while True:
            try:
                return _fit(plan, detector, run, tracker, progress, resume)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if group().count > 1:  # the others may have had enough, and are in the middle of a step
                    raise RunError(
                        "the accelerator's memory is too small for this process' share of the batch",
                        "start again with half of compute.batch_size and twice compute.accumulation",
                    ) from error
            # outside of `except`: the error holds the frames that hold the memory
            settings, resume = halve_batch(plan.settings, devices_of_a_batch()), has_state(run.checkpoints)
            _log.warning(
                "out of memory: going on with batches of %d, %d to an update, from the %s",
                settings.compute.batch_size,
                settings.compute.accumulation,
                "last checkpoint" if resume else "beginning",
            )
            run.write_settings(settings)
            plan = replace(plan, settings=settings)
            # on JAX a step that fails leaves the variables without values
            detector = _build(plan, fresh=not resume)


def _fit(
    plan: TrainingPlan, detector: Detector, run: Run, tracker: MlflowTracker | None, bar: Progress, resume: bool
) -> TrainingResult:
    settings, schedule, steps = plan.settings, plan.schedule, plan.steps_per_epoch
    batch_size = settings.compute.batch_size
    teach = None
    if plan.teacher is not None:
        teach = load_teacher(plan.teacher, settings.model, choose_precision(settings.compute.precision))
    model = build_training_model(detector, settings, schedule, schedule.epochs * steps, teach)
    position = load_state(model, run.checkpoints, batch_size, steps) if resume else Position(batch_size, steps)
    if resume:
        if group().first:
            run.truncate_metrics(position.step // position.steps_per_epoch - position.epoch_open)
        _log.info("resuming %s at step %d of %d", run.name, position.step, schedule.epochs * steps)

    evaluator: Evaluates
    if batches_are_shared():
        evaluator = SharedEvaluator(detector, settings)
    else:
        xla = compile_with_xla(settings.compute.compile)
        evaluator = Evaluator(detector, settings.loss, settings.evaluate, xla)
    stop_request = StopRequest()
    journal = Journal(
        model=model,
        recorder=Recorder(model, run, detector, tracker),
        position=position,
        epochs=schedule.epochs,
        evaluator=evaluator,
        validation=plan.validation,
        validate_every=schedule.validate_every,
        patience=schedule.patience,
        checkpoint_seconds=settings.checkpoint_minutes * 60,
        bar=bar,
        stop_request=stop_request,
        finite_check=FiniteCheck(model, run, plan.training, settings.seed, position),
    )
    left = (schedule.epochs * steps - position.step) * batch_size
    with stop_request, bar(f"{plan.verb} {run.name}", left, "images") as advance:
        journal.begin()
        mosaic_epochs = schedule.epochs - settings.augment.mosaic_off_epochs
        for first, last, epoch_steps in _legs(position.step, steps, schedule.epochs, mosaic_epochs):
            if journal.stopped_early:
                break
            model.switch_mosaic(first < mosaic_epochs)
            share = BatchShare(group().index, group().count)
            batches = plan.training.training_batches(batch_size, settings.seed, position.step, share)
            with _inputs(batches) as inputs:
                model.fit(
                    inputs,
                    initial_epoch=first,
                    epochs=last,
                    steps_per_epoch=epoch_steps,
                    callbacks=[journal, ShowProgress(advance, batch_size, schedule.epochs)],
                    shuffle=False,  # the source has shuffled
                    verbose=0,
                )
        kept = None
        if plan.keeps:
            kept = _keep(plan, run, detector, evaluator, journal)
    lines = from_first(run.read_metrics)
    if not lines:
        hint = f"its weights are {run.best_weights}: score them with eval"
        raise RunError(f"{run.path} is finished, and {run.metrics_file.name} has no line any more", hint)
    best = best_line(lines) or lines[-1]
    return TrainingResult(run, lines[-1]["epoch"], journal.stopped_early, lines[-1], best, kept)


def _keep(
    plan: TrainingPlan, run: Run, detector: Detector, evaluator: Evaluates, journal: Journal
) -> dict[str, Any] | None:
    if isinstance(evaluator, SharedEvaluator):
        detector, evaluator = evaluator.copy, evaluator.evaluator
    with on_this_process_alone():
        return from_first(
            lambda: keep_known(run, detector, evaluator, plan.validation, plan.settings, journal.stoppable_bar)
        )


@contextmanager
def _inputs(batches: Iterable[Batch]) -> Iterator[Any]:
    """What Keras takes of a source's batches: tf.data as it is, the items of a generator as tuples of one.

    Raises:
        DataError: Something cannot be read, whatever TensorFlow has made of that.
    """
    failures: list[FcosliteError] = []

    def tuples(generator: Iterator[Batch]) -> Iterator[tuple[Batch]]:
        try:
            for batch in generator:
                yield (batch,)
        except FcosliteError as error:
            failures.append(error)
            raise

    with records_must_be_readable():
        try:
            yield tuples(batches) if isinstance(batches, Iterator) else batches
        except Exception:
            if failures:
                raise failures[0] from None
            raise


def _legs(step: int, steps_per_epoch: int, epochs: int, change: int) -> Iterable[tuple[int, int, int]]:
    """(first epoch, end, batches per epoch) of the calls of fit: the rest of a broken epoch, then whole ones.

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
def _recorded(run: Run) -> Iterator[None]:
    """Locked, and with the console in run.log, by the first process."""
    with ExitStack() as stack:
        from_first(lambda: stack.enter_context(locked(run.lock_file, str(run.path))))
        if group().first:
            stack.enter_context(_console_log(run))
        yield


def _tracker(plan: TrainingPlan, run: Run) -> AbstractContextManager[MlflowTracker | None]:
    return closing(MlflowTracker(run, plan.settings.workspace.mlflow_uri)) if group().first else nullcontext()


def _is_finished(run: Run) -> bool:
    with suppress(FcosliteError):  # files of the run that cannot be read are told elsewhere
        return end_state(run) == FINISHED
    return False


@contextmanager
def _console_log(run: Run) -> Iterator[None]:
    handler = LogFile(run.path / "run.log")
    level = _log.level
    _log.setLevel(min(_log.getEffectiveLevel(), logging.INFO))
    _log.addHandler(handler)
    try:
        yield
    except BaseException as error:
        handler.handle(_log.makeRecord(_log.name, logging.ERROR, "", 0, f"stopped: {error!r}", (), None))
        if not isinstance(error, Interrupted) and has_state(run.checkpoints) and not _is_finished(run):
            _log.warning("fcoslite %s --resume %s goes on from the last checkpoint", run.facts()["verb"], run.path)
        raise
    finally:
        _log.removeHandler(handler)
        _log.setLevel(level)
        handler.close()
