"""What a set of records will hold: all that decides its bytes, found out before the first image is read."""

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Literal, get_args

import msgspec
import numpy as np

from fcoslite import __version__
from fcoslite.data.dataset import AnnotationTable, Dataset, LabelledImage, seeded_order
from fcoslite.data.formats.coco import check_images_folder
from fcoslite.data.formats.coco_columns import open_coco
from fcoslite.data.formats.table import to_dataset
from fcoslite.data.image_files_hint import explain
from fcoslite.data.images import UnusableImageError
from fcoslite.data.lazy import picked
from fcoslite.data.records.manifest import FORMAT, SCORED_FORMAT
from fcoslite.data.records.schema import encode_image
from fcoslite.data.records.shards import Cut, RecordBytes, make_record
from fcoslite.data.skipped import SkippedImage
from fcoslite.errors import ConfigError, DataError
from fcoslite.storage.files import file_digest, replace_file, sizes_of
from fcoslite.storage.places import is_file, read_bytes
from fcoslite.storage.staged_folder import job_digest

Encoding = Literal["png", "jpeg"]
# Around 85 MB of PNG at 512 pixels: large enough to read in one go, small enough to shuffle and share out.
RECORDS_PER_SHARD = 256
_SAMPLES = 16
_FACTS = ".set.json"


@dataclass(frozen=True)
class SetFacts:
    """What a manifest says of a set whatever its images turn out to be.

    Attributes:
        class_names: Names by class id - 1.
        image_size: Side of the letterboxed images, pixels.
        encoding: `png` or `jpeg`.
        seed: Of the order.
        format: Of the records.
        version: Of this fcoslite.
        cut: How the images are cut into files.
        job: Digest of all this, and of the data.
    """

    class_names: tuple[str, ...]
    image_size: int
    encoding: str
    seed: int
    format: int
    version: str
    cut: Cut
    job: str


@dataclass(frozen=True)
class RecordsPlan:
    """What a set of records is made of.

    Attributes:
        facts: What its manifest will say.
        dataset: Its images' folder and class names.
        images: Those to be written, in order.
    """

    facts: SetFacts
    dataset: Dataset
    images: Sequence[LabelledImage]

    def record(self, image: LabelledImage) -> RecordBytes:
        """One image's."""
        return make_record(image, self.dataset, self.facts.image_size, self.facts.encoding)

    def explain(self, skipped: Sequence[SkippedImage]) -> str:
        """What is the matter with images that cannot be used, and what to do."""
        return explain(skipped, self.images, self.dataset.folder)

    def estimate_bytes(self) -> int:
        """Of the files, by the first images of the order."""
        sizes = []
        for image in self.images[:_SAMPLES]:
            with suppress(UnusableImageError):  # told when its record is made
                sizes.append(len(encode_image(image, self.dataset, self.facts.image_size, self.facts.encoding)))
        return round(sum(sizes) / len(sizes) * len(self.images)) if sizes else 0


def plan_records(
    data: Path,
    limit: int | None = None,
    image_size: int = 512,
    encoding: Encoding = "png",
    seed: int = 0,
    records_per_shard: int = RECORDS_PER_SHARD,
) -> RecordsPlan:
    """Read the annotations of a COCO folder, and plan its records; see `build_records`.

    Raises:
        DataError: The data set is missing, empty or unusable.
        ConfigError: An argument is not allowed.
    """
    _check_arguments(limit, image_size, encoding, records_per_shard)
    table = _read(data)
    ids = np.fromiter((image.image_id for image in table.images), np.int64, len(table.images))
    order = seeded_order(ids, seed, "records")[:limit]
    scored = bool((table.scores[table.rows_of(order)] < 1).any())
    digest = _data_digest(table, order)
    dataset = to_dataset(table)
    del table  # which is twice as large
    options = {"image_size": image_size, "encoding": encoding, "seed": seed, "records_per_shard": records_per_shard}
    if scored:  # else it is what it was before there were scores, and so is the job
        options["format"] = SCORED_FORMAT
    facts = SetFacts(
        class_names=dataset.class_names,
        image_size=image_size,
        encoding=encoding,
        seed=seed,
        format=SCORED_FORMAT if scored else FORMAT,
        version=__version__,
        cut=Cut(len(order), records_per_shard, _prefix(dataset.class_names)),
        job=job_digest({"version": __version__, "data": digest, **options}),
    )
    return RecordsPlan(facts, dataset, picked(dataset.images, order))


def write_facts(facts: SetFacts, folder: Path) -> None:
    """Leave beside the files of shares what `read_facts` reads."""
    replace_file(folder / _FACTS, msgspec.json.encode(facts))


def read_facts(folder: Path) -> SetFacts:
    """What shares have left.

    Raises:
        DataError: There are none.
    """
    try:
        return msgspec.json.decode(read_bytes(folder / _FACTS), type=SetFacts)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        raise DataError(
            f"there is nothing to merge: no share of records in {folder}",
            "write them with `fcoslite build-records --shard 0/8`, and so on, all with the same --out",
        ) from None


def clear_facts(folder: Path) -> None:
    """Delete what `write_facts` has left, if it has."""
    (folder / _FACTS).unlink(missing_ok=True)


def _check_arguments(limit: int | None, image_size: int, encoding: str, records_per_shard: int) -> None:
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}", "it must be at least 1")
    if image_size < 32 or image_size % 32:
        near = max(32, round(image_size / 32) * 32)
        raise ConfigError(f"the image size is {image_size}", f"it must be a multiple of 32, such as {near}")
    if encoding not in get_args(Encoding):
        raise ConfigError(f"encoding is '{encoding}'", "it is one of " + ", ".join(get_args(Encoding)))
    if records_per_shard < 1:
        raise ConfigError(f"records_per_shard is {records_per_shard}", "it must be at least 1")


def _read(data: Path) -> AnnotationTable:
    annotations = data / "annotations.json"
    if not is_file(annotations):
        raise DataError(
            f"no data set at {data}: it has no annotations.json",
            "write one with `fcoslite extract`, or use --data",
        )
    check_images_folder(data / "images")
    table = open_coco(annotations, places=[data / "images"])
    if not len(table.class_ids):
        raise DataError(f"{annotations} has no usable box", "there is nothing to learn from it")
    return table


def _data_digest(table: AnnotationTable, order: np.ndarray) -> list[str]:
    """What the records depend on, short of reading every image: annotations, order, and the sizes of the files."""
    names, again = tee(image.file_name for image in picked(table.images, order))
    sizes = hashlib.sha256()
    for name, size in zip(names, sizes_of(table.folder, again), strict=True):
        sizes.update(f"{name}\0{size}\0".encode())
    return [file_digest(table.path), sizes.hexdigest()]


def _prefix(class_names: tuple[str, ...]) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", class_names[0].lower()).strip("-")
    return words if words and len(class_names) == 1 else "records"
