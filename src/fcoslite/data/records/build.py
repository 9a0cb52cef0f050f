"""Build a set of TFRecord shards from a COCO folder."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from fcoslite.data.records.manifest import RecordsManifest, read_manifest
from fcoslite.data.records.plan import RECORDS_PER_SHARD, Encoding, SetFacts, clear_facts, plan_records, write_facts
from fcoslite.data.records.ray_shards import write_shards_on_ray
from fcoslite.data.records.shards import Share, WrittenShard, clear_journals, write_shards
from fcoslite.data.skipped import MAX_SKIPPED, Explain, most_skipped, summary, write_skipped
from fcoslite.errors import ConfigError, DataError
from fcoslite.machine.backend import load_tensorflow
from fcoslite.machine.threads import one_opencv_thread
from fcoslite.progress import Progress, no_progress
from fcoslite.storage.files import write_json
from fcoslite.storage.places import is_file
from fcoslite.storage.space import check_free_space, known_free_bytes
from fcoslite.storage.staged_folder import (
    MANIFEST,
    check_output,
    is_finished,
    shared_folder,
    staged_bytes,
    staged_folder,
)

_log = logging.getLogger("fcoslite")

KIND = "fcoslite-records"
Engine = Literal["local", "ray"]
TAKE_LESS = "use --encoding jpeg, --limit, or another disk with --out"


@dataclass(frozen=True)
class BuildResult:
    """What was built, or would be.

    Attributes:
        out: The folder.
        class_names: Names by class id - 1.
        images: Records; in a dry run, images to read.
        boxes: Boxes in all, crowds included.
        skipped_images: Images that could not be used; unknown, 0, in a dry run.
        shards: Files.
        size_bytes: Of the shards; an estimate in a dry run.
        free_bytes: Free space on that disk, before; None at an address.
    """

    out: Path
    class_names: tuple[str, ...]
    images: int
    boxes: int
    skipped_images: int
    shards: int
    size_bytes: int
    free_bytes: int | None


def build_records(
    data: Path,
    out: Path,
    limit: int | None = None,
    image_size: int = 512,
    encoding: Encoding = "png",
    workers: int | None = None,
    seed: int = 0,
    max_skipped: str = MAX_SKIPPED,
    records_per_shard: int = RECORDS_PER_SHARD,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
    share: Share | None = None,
    engine: Engine = "local",
    address: str | None = None,
) -> BuildResult:
    """Letterbox the images of a COCO folder into TFRecord shards, in a seeded order.

    The same input and arguments give the same bytes, whatever the number of workers.

    Args:
        data: Folder with annotations.json and images/, as `extract` writes it.
        out: Folder to write; nothing appears there before it is complete. If it was built from the same data with
            the same options there is nothing to do; if that was stopped in the middle, it goes on.
        limit: Take the first so many of the order; None, or more than there are: all.
        image_size: Side of the letterboxed images, pixels; a multiple of 32.
        encoding: Of the images: png, without loss, or jpeg of quality 95, a quarter of the size.
        workers: Threads, or processes of a cluster; None: one a CPU.
        seed: Of the order.
        max_skipped: Most images that may be left out because they cannot be used: a count, or a share such as `1%`.
            They are listed in skipped.jsonl.
        records_per_shard: Images a file; it has fewer records where some could not be used.
        overwrite: Replace former records at `out`.
        dry_run: Check and estimate, write nothing.
        progress: Told about every image.
        share: Of the files, to be written beside `out`, where `merge_records` will find them; None: all, and in their
            place. All shares need the same arguments, but for workers.
        engine: What does the work: threads of this process, or `ray`.
        address: Of a Ray cluster, see `ray_cluster`.

    Returns:
        What was built, or what is in the share.

    Raises:
        DataError: The data set is missing, empty or unusable, `out` is taken, or the disk too small.
        TooManySkippedError: More images cannot be used; with more allowed, the same call goes on.
        ConfigError: An argument is not allowed.
        ClusterError: Workers of a cluster cannot do their part; what is finished is kept.
        BusyError: Another process is at work on `out`.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}", "it must be at least 1")
    if address is not None and engine != "ray":
        raise ConfigError(f"--address {address} is a Ray cluster's", "add --engine ray")
    check_output(out, KIND, overwrite, (data,))
    plan = plan_records(data, limit, image_size, encoding, seed, records_per_shard)
    facts = plan.facts
    most_skipped(max_skipped, len(plan.images))  # a wrong one is told now
    free = known_free_bytes(out)
    if not overwrite and is_finished(out, facts.job):
        _log.info("%s is there already, built from the same data with the same options", out)
        return result_of(out, read_manifest(out), free)
    if share and engine == "ray":
        raise ConfigError("a share is written by one process, --engine ray shares out by itself", "use one of the two")
    which = share.of_files(len(facts.cut)) if share else range(len(facts.cut))
    with one_opencv_thread():
        estimate = round(plan.estimate_bytes() * len(which) / len(facts.cut))
        # of a share only its own files: those of others are there beside them
        staged = staged_bytes(out, None if share is None else {facts.cut.name(index) for index in which})
        check_free_space(out, estimate, TAKE_LESS, staged)
        if dry_run:
            chosen = [plan.images[place] for index in which for place in facts.cut.places(index)]
            return BuildResult(
                out=out,
                class_names=facts.class_names,
                images=len(chosen),
                boxes=sum(len(image.class_ids) for image in chosen),
                skipped_images=0,
                shards=len(which),
                size_bytes=estimate,
                free_bytes=free,
            )
        load_tensorflow()  # before the threads that use it

        def write(folder: Path) -> list[WrittenShard]:
            if engine == "ray":
                return write_shards_on_ray(plan, folder, workers, address, max_skipped, progress)
            return write_shards(
                plan.images,
                facts.cut,
                plan.record,
                folder,
                workers or os.cpu_count() or 1,
                max_skipped,
                progress,
                plan.explain,
                which,
            )

        if share is not None:
            with shared_folder(out, facts.job) as folder:
                write_facts(facts, folder)
                return _result_of_share(out, facts, write(folder), free)
        with staged_folder(out, facts.job, overwrite) as folder:
            if not is_file(folder / MANIFEST):  # else killed after all the work
                finish(folder, facts, write(folder), plan.explain)
            clear_journals(folder)
            clear_facts(folder)
            manifest = read_manifest(folder)
    return result_of(out, manifest, free)


def finish(folder: Path, facts: SetFacts, written: Sequence[WrittenShard], explain: Explain) -> None:
    """Write what belongs to the files of a set: skipped.jsonl, if images were, and the manifest.

    Raises:
        DataError: None of the images can be used.
    """
    skipped = [image for each in written for image in each.skipped]
    if len(skipped) == facts.cut.images:
        raise DataError(summary(skipped, facts.cut.images), explain(skipped))
    write_skipped(skipped, facts.cut.images, folder)
    manifest = RecordsManifest(
        class_names=facts.class_names,
        image_size=facts.image_size,
        encoding=facts.encoding,
        seed=facts.seed,
        count=sum(each.shard.count for each in written),
        boxes=sum(each.boxes for each in written),
        max_boxes=max(each.max_boxes for each in written),
        shards=tuple(each.shard for each in written if each.shard.count),
        version=facts.version,
        skipped_images=len(skipped),
        job=facts.job,
        format=facts.format,
    )
    write_json(folder / MANIFEST, {"kind": KIND, **asdict(manifest)})


def result_of(out: Path, manifest: RecordsManifest, free: int | None) -> BuildResult:
    """What is in a finished set."""
    return BuildResult(
        out=out,
        class_names=manifest.class_names,
        images=manifest.count,
        boxes=manifest.boxes,
        skipped_images=manifest.skipped_images,
        shards=len(manifest.shards),
        size_bytes=sum(shard.size for shard in manifest.shards),
        free_bytes=free,
    )


def _result_of_share(out: Path, facts: SetFacts, written: Sequence[WrittenShard], free: int | None) -> BuildResult:
    return BuildResult(
        out=out,
        class_names=facts.class_names,
        images=sum(each.shard.count for each in written),
        boxes=sum(each.boxes for each in written),
        skipped_images=sum(len(each.skipped) for each in written),
        shards=sum(each.shard.count > 0 for each in written),
        size_bytes=sum(each.shard.size for each in written),
        free_bytes=free,
    )
