"""Build a set of TFRecord shards from a COCO folder."""

import logging
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from fcoslite import __version__
from fcoslite.data.dataset import Dataset, LabelledImage, seeded_order
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.image_files_hint import explain
from fcoslite.data.images import UnusableImageError
from fcoslite.data.records.manifest import FORMAT, SCORED_FORMAT, RecordsManifest, read_manifest
from fcoslite.data.records.schema import encode_image
from fcoslite.data.records.shards import Cut, clear_journals, make_record, write_shards
from fcoslite.data.skipped import MAX_SKIPPED, most_skipped, summary, write_skipped
from fcoslite.errors import ConfigError, DataError
from fcoslite.machine.backend import load_tensorflow
from fcoslite.machine.threads import one_opencv_thread
from fcoslite.progress import Progress, no_progress
from fcoslite.storage.files import file_digest, file_size, write_json
from fcoslite.storage.space import check_free_space, free_bytes
from fcoslite.storage.staged_folder import MANIFEST, check_output, is_finished, job_digest, staged_bytes, staged_folder

_log = logging.getLogger("fcoslite")

KIND = "fcoslite-records"
Encoding = Literal["png", "jpeg"]
# Around 85 MB of PNG at 512 pixels: large enough to read in one go, small enough to shuffle and share out.
RECORDS_PER_SHARD = 256
_SAMPLES = 16


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
        free_bytes: Free space on that disk, before.
    """

    out: Path
    class_names: tuple[str, ...]
    images: int
    boxes: int
    skipped_images: int
    shards: int
    size_bytes: int
    free_bytes: int


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
        workers: Threads; None: one a CPU.
        seed: Of the order.
        max_skipped: Most images that may be left out because they cannot be used: a count, or a share such as `1%`.
            They are listed in skipped.jsonl.
        records_per_shard: Images a file; it has fewer records where some could not be used.
        overwrite: Replace former records at `out`.
        dry_run: Check and estimate, write nothing.
        progress: Told about every image.

    Raises:
        DataError: The data set is missing, empty or unusable, `out` is taken, or the disk too small.
        TooManySkippedError: More images cannot be used; with more allowed, the same call goes on.
        ConfigError: An argument is not allowed.
        BusyError: Another process is at work on `out`.
    """
    workers = workers if workers is not None else os.cpu_count() or 1
    _check_arguments(limit, image_size, encoding, workers, records_per_shard)
    check_output(out, KIND, overwrite, (data,))
    dataset = _read(data)
    by_id = {image.image_id: image for image in dataset.images}
    chosen = [by_id[image_id] for image_id in seeded_order(by_id, seed, "records")[:limit]]
    most_skipped(max_skipped, len(chosen))  # a wrong one is told now
    options = {"image_size": image_size, "encoding": encoding, "seed": seed, "records_per_shard": records_per_shard}
    scored = any((image.scores < 1).any() for image in chosen)
    if scored:  # else it is what it was before there were scores, and so is the job
        options["format"] = SCORED_FORMAT
    job = job_digest({"version": __version__, "data": _data_digest(dataset, chosen), **options})
    free = free_bytes(out)
    cut = Cut(len(chosen), records_per_shard, _prefix(dataset.class_names))
    if not overwrite and is_finished(out, job):
        _log.info("%s is there already, built from the same data with the same options", out)
        return _result(out, read_manifest(out), free)
    with one_opencv_thread():
        estimate = _estimate_bytes(chosen, dataset, image_size, encoding)
        check_free_space(out, estimate, "use --encoding jpeg, --limit, or another disk with --out", staged_bytes(out))
        if dry_run:
            return BuildResult(
                out=out,
                class_names=dataset.class_names,
                images=len(chosen),
                boxes=sum(len(image.class_ids) for image in chosen),
                skipped_images=0,
                shards=len(cut),
                size_bytes=estimate,
                free_bytes=free,
            )
        load_tensorflow()  # before the threads that use it
        why = partial(explain, images=chosen, folder=dataset.folder)
        record = partial(make_record, dataset=dataset, image_size=image_size, encoding=encoding)
        with staged_folder(out, job, overwrite) as folder:
            if not (folder / MANIFEST).is_file():  # else killed after all the work
                written = write_shards(chosen, cut, record, folder, workers, max_skipped, progress, why)
                skipped = [image for shard in written for image in shard.skipped]
                if len(skipped) == len(chosen):
                    raise DataError(summary(skipped, len(chosen)), why(skipped))
                write_skipped(skipped, len(chosen), folder)
                shards = tuple(each.shard for each in written if each.shard.count)
                manifest = RecordsManifest(
                    class_names=dataset.class_names,
                    image_size=image_size,
                    encoding=encoding,
                    seed=seed,
                    count=sum(shard.count for shard in shards),
                    boxes=sum(each.boxes for each in written),
                    max_boxes=max(each.max_boxes for each in written),
                    shards=shards,
                    version=__version__,
                    skipped_images=len(skipped),
                    job=job,
                    format=SCORED_FORMAT if scored else FORMAT,
                )
                write_json(folder / MANIFEST, {"kind": KIND, **asdict(manifest)})
            clear_journals(folder)
            manifest = read_manifest(folder)
    return _result(out, manifest, free)


def _check_arguments(limit: int | None, image_size: int, encoding: str, workers: int, records_per_shard: int) -> None:
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}", "it must be at least 1")
    if image_size < 32 or image_size % 32:
        near = max(32, round(image_size / 32) * 32)
        raise ConfigError(f"the image size is {image_size}", f"it must be a multiple of 32, such as {near}")
    if encoding not in get_args(Encoding):
        raise ConfigError(f"encoding is '{encoding}'", "it is one of " + ", ".join(get_args(Encoding)))
    if min(workers, records_per_shard) < 1:
        raise ConfigError("workers and records_per_shard must be at least 1")


def _read(data: Path) -> Dataset:
    annotations = data / "annotations.json"
    if not annotations.is_file():
        raise DataError(
            f"no data set at {data}: it has no annotations.json",
            "write one with `fcoslite extract`, or use --data",
        )
    dataset = read_coco(annotations, data / "images")
    if not any(len(image.class_ids) for image in dataset.images):
        raise DataError(f"{annotations} has no usable box", "there is nothing to learn from it")
    return dataset


def _data_digest(dataset: Dataset, chosen: list[LabelledImage]) -> list[object]:
    """What the records depend on, short of reading every image: annotations, order, and the sizes of the files."""
    sizes = {image.file_name: file_size(dataset.folder / image.file_name) for image in chosen}
    return [file_digest(dataset.folder.parent / "annotations.json"), list(sizes.items())]


def _result(out: Path, manifest: RecordsManifest, free: int) -> BuildResult:
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


def _estimate_bytes(chosen: list[LabelledImage], dataset: Dataset, image_size: int, encoding: str) -> int:
    sizes = []
    for image in chosen[:_SAMPLES]:
        with suppress(UnusableImageError):  # told when its record is made
            sizes.append(len(encode_image(image, dataset, image_size, encoding)))
    return round(sum(sizes) / len(sizes) * len(chosen)) if sizes else 0


def _prefix(class_names: tuple[str, ...]) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", class_names[0].lower()).strip("-")
    return words if words and len(class_names) == 1 else "records"
