"""Training on a Ray cluster: Ray places the processes that train together, and starts them again when one is lost."""

import logging
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from fcoslite import __version__
from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.errors import ClusterError, ConfigError, FcosliteError, Interrupted, RunError
from fcoslite.machine.distribute import check_batch, group, join, refuse_other_backends, was_told
from fcoslite.machine.ray_cluster import check_version, ray_cluster
from fcoslite.machine.signals import StopRequest
from fcoslite.progress import Progress, no_progress
from fcoslite.runs.run import open_run
from fcoslite.training.ray_board import Board, Reader, Reporter
from fcoslite.training.request import AUTO, TrainingRequest, carry_out, plan_together
from fcoslite.training.result import TrainingResult

_log = logging.getLogger("fcoslite")

_LOOK_EVERY = 0.5  # seconds
_ROOM_SECONDS = 50
_IN_VAIN = 10  # starts in a row from the same checkpoint
_LOSSES = 1000  # of workers, in all
_GROW_SECONDS = 600.0  # between two looks for room for more workers, which costs the steps since the last checkpoint
_NOBODY_SECONDS = 30.0  # without a worker that could answer a signal


@dataclass(frozen=True)
class Workers:
    """Processes that train together, each with a CPU, or with GPUs too.

    Attributes:
        least: Training waits for as many.
        most: As many take part, if the cluster has room for them.
        gpus: Of each; None: one if the cluster has any.
        address: Of the cluster, see `machine.ray_cluster`.
    """

    least: int
    most: int
    gpus: int | None = None
    address: str | None = None

    @classmethod
    def parse(cls, text: str, gpus: int | None = None, address: str | None = None) -> "Workers":
        """`4`, or `2..8`.

        Raises:
            ConfigError: It is neither.
        """
        first, dots, second = text.partition("..")
        try:
            least = int(first)
            most = int(second) if dots else least
        except ValueError:
            least = most = 0
        if not 1 <= least <= most:
            raise ConfigError(f"'{text}' is no number of workers", "such as --workers 4, or --workers 2..8")
        return cls(least, most, gpus, address)

    def __str__(self) -> str:
        """As `parse` takes it."""
        return str(self.least) if self.least == self.most else f"{self.least}..{self.most}"


@dataclass(frozen=True)
class _Order:
    """What every worker is told.

    Attributes:
        request: What is asked for.
        version: Of who asks.
        folder: That relative paths are from.
        batch_size: Of all of them.
        gpus: Of each.
        runs: Folder of runs.
        board: The actor.
    """

    request: TrainingRequest
    version: str
    folder: str
    batch_size: int
    gpus: int
    runs: str
    board: Any


def train_on_ray(request: TrainingRequest, workers: Workers, progress: Progress = no_progress) -> TrainingResult:
    """Carry out a request on a Ray cluster. Where a worker is lost, all begin again at the last checkpoint.

    Args:
        request: What is asked for. All workers see what it names, and the folder of runs, under the same path.
        workers: How many, and where. Where the number that the cluster has room for does not divide the batch, some
            have nothing to do.
        progress: Shown while training and validating.

    Raises:
        ConfigError: Ray is not installed, the backend is not JAX, or the batch cannot be shared.
        ClusterError: There is no cluster, it has no room, or its workers cannot work together.
        FcosliteError: As of `plan_request` and `carry_out`.
    """
    refuse_other_backends()
    settings = _settings(request)
    # what Ray would do otherwise: change to a folder of its own
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    with ray_cluster(workers.address) as ray:
        gpus = workers.gpus if workers.gpus is not None else int(ray.cluster_resources().get("GPU", 0) > 0)
        _check_room(ray, workers, gpus)
        config = _config_of_worker(ray, gpus)
        if request.resume is None and request.config == AUTO:
            request = replace(request, config=config)
            settings = _settings(request)
            _log.info("config %s: of the workers", config)
        if workers.least == workers.most:
            check_batch(settings.compute.batch_size, workers.most * max(gpus, 1))
        with _board(ray) as board:
            runs = str(Path(settings.workspace.runs).resolve())
            order = _Order(request, __version__, str(Path.cwd()), settings.compute.batch_size, gpus, runs, board)
            return _fit(ray, order, workers, progress)


def _settings(request: TrainingRequest) -> Settings:
    asked = load_settings(request.named_config, request.overrides, request.values)
    if request.resume is None:
        return asked
    ours = open_run(request.resume, Path(asked.workspace.runs)).settings()
    return ours.model_copy(update={"workspace": asked.workspace})


def _check_room(ray: Any, workers: Workers, gpus: int) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(int(min(node.get("CPU", 0), node.get("GPU", 0) // gpus if gpus else float("inf"))) for node in nodes)
    if room < workers.least:
        each = f"a CPU and {gpus} GPUs each" if gpus else "a CPU each"
        raise ClusterError(
            f"the cluster has room for {room} workers of {each}, not for {workers.least}",
            f"add machines, or ask for --workers {room}" if room else "add machines",
        )


def _config_of_worker(ray: Any, gpus: int) -> str:
    """Have a worker say which config fits its machine: also whether it can work at all."""
    look = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0, max_calls=1)(_look)
    try:
        config: str = ray.get(
            look.options(runtime_env=_environment(gpus)).remote(__version__, gpus), timeout=_ROOM_SECONDS
        )
    except ray.exceptions.GetTimeoutError:
        raise ClusterError(
            f"no worker of the cluster was free for {_ROOM_SECONDS} seconds", "see `ray status` for what it does"
        ) from None
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, FcosliteError):
            raise error.cause from None
        raise ClusterError(f"a worker of the cluster cannot work: {error.cause!r}", _INSTALL) from None
    except ray.exceptions.RayError as error:
        raise ClusterError(f"a worker of the cluster cannot work: {_last_line(error)}", _INSTALL) from None
    return config


_INSTALL = "install fcoslite[jax,ray] in the same version on all machines of the cluster"


def _look(version: str, gpus: int) -> str:
    """What a worker says."""
    check_version(version)
    if not gpus:
        return "cpu"
    from fcoslite.machine.backend import load_backend, sees_gpu
    from fcoslite.machine.tiers import machine_tier

    load_backend()
    if not sees_gpu():
        raise ClusterError(
            f"the worker on {socket.gethostname()} was given a GPU, but its JAX sees none",
            "install JAX for its GPU there, such as jax[cuda13], or train with --gpus-per-worker 0",
        )
    return machine_tier().config


def _environment(gpus: int) -> dict[str, Any]:
    variables = {"KERAS_BACKEND": "jax"}
    if not gpus:
        variables["JAX_PLATFORMS"] = "cpu"
    return {"env_vars": variables}


@contextmanager
def _board(ray: Any) -> Iterator[Any]:
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    board = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=here).remote()
    yield board
    ray.kill(board)


def _fit(ray: Any, order: _Order, workers: Workers, progress: Progress) -> TrainingResult:
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    runs = Path(order.runs)
    runs.mkdir(parents=True, exist_ok=True)
    aside = f".ray-{uuid4().hex}"  # Ray's own record of a training; no run
    resources = {"CPU": 1, **({"GPU": order.gpus} if order.gpus else {})}
    configured: Any = RunConfig(  # DataParallelTrainer is annotated with that of an older API
        name=aside,
        storage_path=str(runs),
        failure_config=FailureConfig(max_failures=_LOSSES),
        worker_runtime_env=_environment(order.gpus),
    )
    trainer = DataParallelTrainer(
        _work,
        train_loop_config={"order": order},
        scaling_config=ScalingConfig(
            elastic_resize_monitor_interval_s=_GROW_SECONDS,
            num_workers=workers.most if workers.least == workers.most else (workers.least, workers.most),
            use_gpu=order.gpus > 0,
            resources_per_worker=resources,
        ),
        run_config=configured,
    )
    failures: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:  # it is raised below
            failures.append(error)

    # in a thread of its own, Ray leaves the signals to us
    thread = threading.Thread(target=fit, daemon=True)
    reader = Reader(order.board, ray, progress, f"--workers {workers}")
    try:
        with StopRequest("stopping after this batch, on all workers; once more stops at once") as stop_request:
            thread.start()
            while thread.is_alive():
                thread.join(_LOOK_EVERY)
                reader.look()
                if stop_request.signal_number is not None:
                    ray.get(order.board.stop.remote(stop_request.signal_number))
                    if reader.silence > _NOBODY_SECONDS:
                        raise Interrupted(
                            "stopped while no worker was at work",
                            _resume_hint(ray, order, workers),
                            stop_request.signal_number,
                        )
        reader.close()
        end = ray.get(order.board.end.remote())
    finally:
        shutil.rmtree(runs / aside, ignore_errors=True)
    if isinstance(end, TrainingResult):
        return end
    if end is not None:
        raise end
    raise ClusterError(
        f"training has ended: {_last_line(failures[0]) if failures else 'its workers have said nothing'}",
        _resume_hint(ray, order, workers),
    )


def _resume_hint(ray: Any, order: _Order, workers: Workers) -> str:
    run = ray.get(order.board.run.remote()) or order.request.resume
    if run is None:
        return "see the logs of Ray"
    return f"fcoslite {order.request.verb} --resume {run} --workers {workers} goes on from its last checkpoint"


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _work(config: dict[str, Any]) -> None:
    """What each worker does. Where it raises an error, Ray ends all of them, and starts them again."""
    import ray

    order: _Order = config["order"]
    if ray.get(order.board.end.remote()) is not None:
        return
    try:
        _train(ray, order)
    except FcosliteError as error:
        told = was_told(error)
        if not (told and isinstance(error, ClusterError)):  # else it is another's, which says it
            ray.get(order.board.finish.remote(error))  # it would come again
        if not told and group().count > 1 and not isinstance(error, Interrupted):
            raise  # the others wait for this one; started again, all see that it has ended


def _train(ray: Any, order: _Order) -> None:
    check_version(order.version)
    try:
        os.chdir(order.folder)
    except OSError as error:
        raise ClusterError(
            f"the worker on {socket.gethostname()} does not see {order.folder}",
            "start from a folder that all workers find under the same path, such as on NFS",
        ) from error
    used, count = _come_together(ray, order)
    if not used:
        return
    if not group().first:
        plan, run = plan_together(_request_now(ray, order))
        carry_out(plan, run)
        return
    reporter = Reporter(order.board, ray)
    with reporter.at_work():
        if used < count:
            _log.warning("%d of %d workers train: more do not divide a batch of %d", used, count, order.batch_size)
        plan, run = plan_together(_request_now(ray, order), reporter.progress)
        result = carry_out(plan, run, reporter.progress, lambda run: ray.get(order.board.set_run.remote(str(run.path))))
    ray.get(order.board.finish.remote(result))


def _come_together(ray: Any, order: _Order) -> tuple[int, int]:
    """Join the others: (how many train, how many there are); (0, ...) in one that there is nothing to do for."""
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    context = get_context()
    index, count = context.get_world_rank(), context.get_world_size()
    devices = max(order.gpus, 1)
    used = max((number for number in range(1, count + 1) if order.batch_size % (number * devices) == 0), default=1)
    host, port = broadcast_from_rank_zero(_free_address() if index == 0 and _may_begin(ray, order) else (None, 0))
    if host is None or index >= used:
        return 0, count
    os.environ.update(RANK=str(index), WORLD_SIZE=str(used), MASTER_ADDR=host, MASTER_PORT=str(port))
    os.environ.pop("LOCAL_RANK", None)  # Ray hides the GPUs of others
    try:
        join()
    except ClusterError as error:
        if index == 0:
            ray.get(order.board.tell.remote([("log", logging.WARNING, error.message)]))
        raise RuntimeError(str(error)) from error  # another time they may be there
    return used, count


def _may_begin(ray: Any, order: _Order) -> bool:
    """Whether training may be started once more; if not, that is its end."""
    name = ray.get(order.board.run.remote()) or order.request.resume
    step = open_run(name, Path(order.runs)).newest_step if name else 0
    if ray.get(order.board.begin.remote(step)) <= _IN_VAIN:
        return True
    error = RunError(
        f"training was started {_IN_VAIN} times from step {step}, and workers were lost each time",
        "see Ray's logs for why; --checkpoint-every has less to do again",
    )
    ray.get(order.board.finish.remote(error))
    return False


def _free_address() -> tuple[str, int]:
    """Where the others find this process."""
    import ray

    with socket.socket() as server:
        server.bind(("", 0))
        return ray.util.get_node_ip_address(), server.getsockname()[1]


def _request_now(ray: Any, order: _Order) -> TrainingRequest:
    """The request; once the run is there, to go on with it."""
    run = ray.get(order.board.run.remote())
    if run is None:
        return order.request
    return replace(order.request, resume=run, config=AUTO, start_from=None, chunk=None)
