"""Records to TFRecord files on a Ray cluster: a task for each file, written where all can write."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcoslite import __version__
from fcoslite.data.dataset import LabelledImage
from fcoslite.data.records.plan import RecordsPlan
from fcoslite.data.records.shards import WrittenShard, finished_shard, write_shard
from fcoslite.data.skipped import refuse_too_many
from fcoslite.errors import ClusterError
from fcoslite.machine.backend import load_tensorflow
from fcoslite.machine.ray_cluster import check_version, ray_cluster
from fcoslite.machine.threads import one_opencv_thread
from fcoslite.progress import Progress
from fcoslite.storage.places import is_remote, place

_log = logging.getLogger("fcoslite")

_LIST = "skipped.jsonl will list them"
_RETRIES = 5  # of a file whose worker has died
_AHEAD = 2  # files told to each worker: the next one waits while one is written


def write_shards_on_ray(
    plan: RecordsPlan, folder: Path, workers: int | None, address: str | None, max_skipped: str, progress: Progress
) -> list[WrittenShard]:
    """Write the records of a plan, but for the files that are finished; a file whose worker dies is written again.

    Args:
        plan: What is to be written.
        folder: For the files; all workers see it, and the images, under the same path.
        workers: Files that are written at the same time, each by a process of one CPU; None: as many as the cluster
            has CPUs.
        address: Of the cluster, see `ray_cluster`.
        max_skipped: Most images that may be skipped: a count, or a share such as `1%`.
        progress: Told about every file.

    Returns:
        All files, in order.

    Raises:
        ClusterError: There is no cluster, or a worker cannot do its part.
        OSError: A file cannot be written.
        TooManySkippedError: More images had to be skipped.
    """
    cut = plan.facts.cut
    written = {index: shard for index in range(len(cut)) if (shard := finished_shard(folder / cut.name(index)))}
    skipped = [image for shard in written.values() for image in shard.skipped]
    missing = [index for index in range(len(cut)) if index not in written]
    refuse_too_many(skipped, cut.images, max_skipped, _LIST, plan.explain)
    with progress("Building records", cut.images, "images") as advance:
        advance(sum(shard.images for shard in written.values()))
        with _files(plan, folder.resolve(), missing, workers, address) as files:
            for index, shard in files:
                written[index] = shard
                advance(shard.images)
                skipped += shard.skipped
                refuse_too_many(skipped, cut.images, max_skipped, _LIST, plan.explain)
    return [written[index] for index in range(len(cut))]


@contextmanager
def _files(
    plan: RecordsPlan, folder: Path, missing: list[int], workers: int | None, address: str | None
) -> Iterator[Iterator[tuple[int, WrittenShard]]]:
    """The files, as they are finished."""
    if not missing:
        yield iter(())
        return
    with ray_cluster(address, workers) as ray:
        at_once = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        shared = ray.put(replace(plan, images=(), dataset=replace(plan.dataset, images=())))
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_write)
        under_way: dict[Any, int] = {}

        def finished() -> Iterator[tuple[int, WrittenShard]]:
            waiting = iter(missing)
            while True:
                while len(under_way) < at_once * _AHEAD and (index := next(waiting, None)) is not None:
                    images = [plan.images[place] for place in plan.facts.cut.places(index)]
                    under_way[task.remote(__version__, shared, index, images, str(folder))] = index
                if not under_way:
                    return
                (first, *_), _ = ray.wait(list(under_way), num_returns=1)
                index = under_way.pop(first)
                try:
                    yield index, ray.get(first)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except ray.exceptions.RayError as error:
                    told = str(error).strip().splitlines()[0]
                    raise ClusterError(
                        f"file {index} of the records could not be written: {told}",
                        "see the logs of that worker; the same command goes on after the files that are finished",
                    ) from error

        try:
            yield finished()
        finally:
            for reference in under_way:
                ray.cancel(reference, force=True)


def _write(version: str, plan: RecordsPlan, index: int, images: list[LabelledImage], folder: str) -> WrittenShard:
    """What a worker does."""
    check_version(version)
    for path in (place(folder), plan.dataset.folder):
        if not (is_remote(path) or path.is_dir()):
            raise ClusterError(
                f"the worker on {socket.gethostname()} does not see {path}",
                "images and records must be where all workers find them under the same path, such as on NFS",
            )
    with one_opencv_thread():
        load_tensorflow()
        return write_shard(map(plan.record, images), place(folder) / plan.facts.cut.name(index))
