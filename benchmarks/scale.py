"""What data sets cost in time, storage and traffic, on one worker and on many: computed from what one machine measures.

First the costs of one photograph, record, step or byte are measured here, in seconds of one core; then they are
multiplied, by the formulas of `building`, `starting` and `training`. What a worker is beside its cores, a `Site` says:
that is assumed, not measured.

Run: python -m benchmarks.scale [--quick] [--costs FILE] [--network 10] [--storage 1]

benchmarks/scale-costs.json has those of docs/scale.md.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

# what they say of themselves, or round
DATA_SETS = {
    "COCO train2017, its photographs with persons": 64_115,
    "COCO train2017": 118_287,
    "Objects365": 1_700_000,
    "Open Images": 9_000_000,
    "10^8 photographs": 10**8,
    "10^9 photographs": 10**9,
}
WORKERS = (1, 8, 64, 512)
BATCH = 16  # images a worker and update, as of `small-data`
CHECKPOINT_SECONDS = 600  # from one to the next, as of every config
RECORDS_PER_FILE = 256
H100_IMAGES = 1058  # a second, `lite` at 512 pixels in float16, batches of 16: docs/performance.md


@dataclass(frozen=True)
class Encoded:
    """A record with its picture as PNG or JPEG.

    Attributes:
        encode: Seconds of one core to make it of a photograph.
        decode: Seconds of one core to read it for training.
        size: Bytes.
    """

    encode: float
    decode: float
    size: float


@dataclass(frozen=True)
class Costs:
    """Of one of each; times are seconds of one core.

    Attributes:
        photograph: Bytes of an original.
        png: A record as PNG, which all times and traffic below are of.
        jpeg: A record as JPEG.
        step: To train on an image; on a GPU, if `on_gpu`, seconds of that.
        parameters: Of the model.
        checkpoint: To write one.
        checksum: Of a byte.
        plan: To read an image's annotations and plan its record; in every process that builds.
        plan_bytes: Memory for that.
        merge: Of a record, to make one set of the files of all shares.
        open: Of a record, to open a set: the manifest, and the size of every file.
        first_batch: Of a record, until the first batch comes.
        walk: Of a record, to pass it over in a pass of which another worker trains on it.
        on_gpu: Whether a step is one of a GPU, with cores beside it.
    """

    photograph: float
    png: Encoded
    jpeg: Encoded
    step: float
    parameters: int
    checkpoint: float
    checksum: float
    plan: float
    plan_bytes: float
    merge: float
    open: float
    first_batch: float
    walk: float
    on_gpu: bool = False


@dataclass(frozen=True)
class Site:
    """Where the workers are; assumed.

    Attributes:
        cores: Of each worker.
        network: Of each worker, bytes a second each way.
        storage: That all of them share, bytes a second in all.
    """

    cores: int = 2
    network: float = 1.25e9
    storage: float = 1e9


@dataclass(frozen=True)
class Estimate:
    """How long something takes.

    Attributes:
        parts: Seconds that each resource is needed for.
        side_by_side: Groups of parts that go on at the same time, those of one group after each other. Parts in none
            come before or after.
    """

    parts: Mapping[str, float]
    side_by_side: Sequence[Sequence[str]]

    @property
    def seconds(self) -> float:
        """In all: what is alone, and the longest of the groups."""
        return sum(self.parts[name] for name in self._needed)

    @property
    def bottleneck(self) -> str:
        """The longest part of what it waits for."""
        return max(self._needed, key=lambda name: self.parts[name])

    @property
    def _needed(self) -> list[str]:
        longest = max(self.side_by_side, key=lambda group: sum(self.parts[name] for name in group))
        grouped = {name for group in self.side_by_side for name in group}
        return [*(name for name in self.parts if name not in grouped), *longest]


def building(images: int, workers: int, costs: Costs, site: Site) -> Estimate:
    """Records of so many photographs, in a share for each worker.

    Each plans all, then reads, encodes and writes its share, side by side; in the end one process merges them.
    """
    moved = images * (costs.photograph + costs.png.size)
    parts = {
        "planning": images * costs.plan,
        "encoding": images * costs.png.encode / (workers * site.cores),
        "network": moved / (workers * site.network),
        "storage": moved / site.storage,
        "merging": images * costs.merge,
    }
    return Estimate(parts, (["encoding"], ["network"], ["storage"]))


def starting(images: int, workers: int, costs: Costs, site: Site) -> Estimate:
    """From the start of training to its first batch: each worker opens the whole set, and checks its part of it."""
    read = images * costs.png.size
    parts = {
        "opening": images * (costs.open + costs.first_batch),
        "checksums": read * costs.checksum / (workers * site.cores),
        "network": read / (workers * site.network),
        "storage": read / site.storage,
    }
    return Estimate(parts, (["checksums"], ["network"], ["storage"]))


def training(images: int, workers: int, costs: Costs, site: Site) -> Estimate:
    """One pass of training over so many records, BATCH of them a worker and update.

    Steps wait for gradients and checkpoints. Records are read and decoded beside that; without a GPU by the same cores.
    """
    each = images / workers
    stepping = each * costs.step / (1 if costs.on_gpu else site.cores)
    parts = {
        "steps": stepping,
        "gradients": updates(images, workers) * gradient_bytes(workers, costs.parameters) / site.network,
        "checkpoints": stepping / CHECKPOINT_SECONDS * costs.checkpoint,
        "decoding": each * costs.png.decode / site.cores,
        "order": images * costs.walk / (1 if costs.on_gpu else site.cores),  # in one thread
        "network": each * costs.png.size / site.network,
        "storage": images * costs.png.size / site.storage,
    }
    waited, prepared = ["steps", "gradients", "checkpoints"], ["decoding", "order"]
    computed = [waited, ["decoding"], ["order"]] if costs.on_gpu else [waited + prepared]
    return Estimate(parts, (*computed, ["network"], ["storage"]))


def updates(images: int, workers: int) -> int:
    """Of one pass."""
    return max(1, images // (BATCH * workers))


def gradient_bytes(workers: int, parameters: int) -> float:
    """That each worker sends, and receives, at an update: float32, added up around a ring."""
    return 2 * (workers - 1) / workers * 4 * parameters


def traffic(images: int, workers: int, costs: Costs) -> tuple[float, float]:
    """Bytes of one pass of training, of all workers: records that are read, and gradients that are sent."""
    sent = updates(images, workers) * workers * gradient_bytes(workers, costs.parameters)
    return images * costs.png.size, sent


# --- measured


def _core_seconds(call: Callable[[], object], rounds: int = 1) -> float:
    """Of one call, by all threads of this process; whatever else the machine does is not counted."""
    start = time.process_time()
    for _ in range(rounds):
        call()
    return (time.process_time() - start) / rounds


def measure_records(size: int, rounds: int) -> tuple[float, Encoded, Encoded]:
    """Bytes of an embedded photograph, and its record as PNG and as JPEG at that size, pixels."""
    from benchmarks.photographs import photographs
    from fcoslite.config.settings import ComputeSettings, DataSettings
    from fcoslite.data.formats.coco import read_coco
    from fcoslite.data.records.build import build_records
    from fcoslite.data.records.shards import make_record
    from fcoslite.data.sources.records import RecordSource
    from fcoslite.machine.backend import load_tensorflow
    from fcoslite.machine.threads import one_opencv_thread

    load_tensorflow()
    with tempfile.TemporaryDirectory() as name, one_opencv_thread():
        folder = Path(name)
        data = photographs(folder / "data", 4)
        dataset = read_coco(data / "annotations.json", data / "images")
        count = len(dataset.images)
        original = sum((dataset.folder / image.file_name).stat().st_size for image in dataset.images) / count

        def encoded(encoding: Literal["png", "jpeg"]) -> Encoded:
            def encode() -> None:
                for image in dataset.images:
                    make_record(image, dataset, size, encoding)

            build_records(data, folder / encoding, image_size=size, encoding=encoding)
            source = RecordSource.open(folder / encoding, DataSettings(), ComputeSettings())
            batches = iter(source.training_batches(4, 0, 0))

            def decode() -> None:
                for _ in range(count // 4):
                    next(batches)

            decode()
            held = sum(shard.size for shard in source.manifest.shards) / count
            return Encoded(_core_seconds(encode, rounds) / count, _core_seconds(decode, rounds) / count, held)

        return original, encoded("png"), encoded("jpeg")


def measure_training(rounds: int) -> tuple[float, float, int]:
    """`lite0` at 320 pixels by `small-data`: a step an image, a checkpoint, and parameters."""
    from benchmarks.random_batches import random_batch
    from fcoslite.config.load import load_settings
    from fcoslite.models.detector import build_detector
    from fcoslite.training.checkpoint import Position, save_state
    from fcoslite.training.model import build_training_model

    values = {"model.classes": ["person"], "model.backbone_weights": None, "compute.precision": "float32"}
    settings = load_settings("small-data", [f"compute.batch_size={BATCH}"], values)
    detector = build_detector(settings.model, seed=0)
    model = build_training_model(detector, settings, settings.train, steps=100_000)
    batch = random_batch(BATCH, 20, settings.model.image_size)
    model.train_on_batch(batch)
    step = _core_seconds(lambda: model.train_on_batch(batch), rounds) / BATCH
    with tempfile.TemporaryDirectory() as name:
        checkpoint = _core_seconds(lambda: save_state(model, Position(BATCH, 1000), Path(name)))
    return step, checkpoint, detector.network.count_params()


def measure_checksum() -> float:
    """Seconds a byte."""
    from fcoslite.storage.files import file_digest

    size = 1 << 28
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "file"
        path.write_bytes(bytes(size))
        return _core_seconds(lambda: file_digest(path)) / size


def measure_growth(few: int, many: int) -> dict[str, tuple[float, float]]:
    """Seconds and bytes of memory that each record more costs, by the names of `benchmarks.growth`."""
    from benchmarks.growth import measure

    slopes = {}
    for name in ("plan records", "merge shares", "open a set", "first shuffled batch", "pass over a share"):
        low, high = (measure("many-records", name, count) for count in (few, many))
        milliseconds, mib = ((high[key] - low[key]) / (many - few) for key in ("ms", "mib"))
        slopes[name] = milliseconds / 1e3, mib * 2**20
    return slopes


def measure_costs(quick: bool) -> tuple[Costs, Costs]:
    """Of `lite0` at 320 pixels on cores; and of `lite` at 512 on a GPU, whose steps docs/performance.md has."""
    rounds = 1 if quick else 5
    step, checkpoint, parameters = measure_training(rounds)
    original, png, jpeg = measure_records(320, rounds)
    _, large_png, large_jpeg = measure_records(512, rounds)
    growth = measure_growth(*((10_000, 100_000) if quick else (100_000, 1_000_000)))
    plan, plan_bytes = growth["plan records"]
    small = Costs(
        photograph=original,
        png=png,
        jpeg=jpeg,
        step=step,
        parameters=parameters,
        checkpoint=checkpoint,
        checksum=measure_checksum(),
        plan=plan,
        plan_bytes=plan_bytes,
        merge=growth["merge shares"][0],
        open=growth["open a set"][0],
        first_batch=growth["first shuffled batch"][0],
        walk=growth["pass over a share"][0],
    )
    return small, on_gpu(small, large_png, large_jpeg)


def on_gpu(costs: Costs, png: Encoded, jpeg: Encoded) -> Costs:
    """The same, of `lite` with records of 512 pixels, on an H100."""
    from fcoslite.config.settings import ModelSettings
    from fcoslite.models.detector import build_detector

    parameters = build_detector(ModelSettings(preset="lite"), seed=0).network.count_params()
    checkpoint = costs.checkpoint * parameters / costs.parameters
    return replace(
        costs, png=png, jpeg=jpeg, step=1 / H100_IMAGES, parameters=parameters, checkpoint=checkpoint, on_gpu=True
    )


def read_costs(document: Mapping[str, Any]) -> Costs:
    """Of what `asdict` has made of them."""
    return Costs(**{**document, "png": Encoded(**document["png"]), "jpeg": Encoded(**document["jpeg"])})


# --- told


def duration(seconds: float) -> str:
    """In two digits of the unit that fits: `3.4 h`."""
    for unit, length in (("years", 365.25 * 86400), ("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{_two_digits(seconds / length)} {unit}"
    unit, length = ("s", 1) if seconds >= 1 else ("ms", 1e-3) if seconds >= 1e-3 else ("µs", 1e-6)
    return f"{_two_digits(seconds / length)} {unit}"


def size(count: float) -> str:
    """Bytes in two digits of the unit that fits: `12 GB`."""
    for unit, length in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length:
            return f"{_two_digits(count / length)} {unit}"
    return f"{count:.0f} B"


def _two_digits(value: float) -> str:
    if value <= 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(value)))
    return f"{round(value, digits):,.{digits}f}" if value < 100 else f"{value:,.0f}"


def _table(*head: str, rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def told_costs(small: Costs, large: Costs) -> str:
    """What was measured, as a table."""

    def rows() -> Iterator[tuple[str, ...]]:
        yield "a photograph", size(small.photograph)
        for costs, side in ((small, 320), (large, 512)):
            for name, record in (("PNG", costs.png), ("JPEG", costs.jpeg)):
                what = f"{size(record.size)}; {duration(record.encode)} to make, {duration(record.decode)} to read"
                yield f"a record at {side} pixels, {name}", what
        yield "a training step of `lite0` at 320, an image", duration(small.step)
        yield f"a checkpoint of `lite0` ({small.parameters / 1e6:.2f} M parameters)", duration(small.checkpoint)
        yield "a checksum", f"{duration(1e9 * small.checksum)} a GB"
        yield "planning a record", f"{duration(small.plan)}, and {size(small.plan_bytes)} of memory"
        yield "merging shares, a record", duration(small.merge)
        yield "opening a set, a record", duration(small.open)
        yield "to the first batch, a record", duration(small.first_batch)
        yield "a record that is another worker's, in a pass", duration(small.walk)

    return _table("what", "time of one core, bytes", rows=rows())


def told_storage(costs: Costs) -> str:
    """Storage, and the memory of each process that builds."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name, images in DATA_SETS.items():
            sizes = (costs.photograph, costs.png.size, costs.jpeg.size, costs.plan_bytes)
            photographs, png, jpeg, memory = (size(images * each) for each in sizes)
            yield name, f"{images:,}", photographs, png, jpeg, f"{-(-images // RECORDS_PER_FILE):,}", memory

    head = ("data set", "images", "photographs", "records, PNG", "JPEG", "files", "memory to plan them")
    return _table(*head, rows=rows())


def told_times(estimate: Callable[[int, int, Costs, Site], Estimate], costs: Costs, site: Site) -> str:
    """Times by data set and workers, each with what it waits for most."""

    def cell(images: int, workers: int) -> str:
        found = estimate(images, workers, costs, site)
        return f"{duration(found.seconds)}, {found.bottleneck}"

    rows = ((name, *(cell(images, workers) for workers in WORKERS)) for name, images in DATA_SETS.items())
    return _table("data set", *_heads(), rows=rows)


def told_traffic(costs: Costs) -> str:
    """Traffic of one pass by data set and workers: records + gradients."""

    def cell(images: int, workers: int) -> str:
        return " + ".join(map(size, traffic(images, workers, costs)))

    rows = ((name, *(cell(images, workers) for workers in WORKERS)) for name, images in DATA_SETS.items())
    return _table("data set", *_heads(), rows=rows)


def _heads() -> list[str]:
    return [f"{workers} worker{'s' * (workers > 1)}" for workers in WORKERS]


def told(small: Costs, large: Costs, site: Site, gpu_site: Site) -> str:
    """All tables, in Markdown: what was measured, then what is computed."""

    def assumed(where: Site) -> str:
        network, storage = 8 * where.network / 1e9, where.storage / 1e9
        return f"workers of {where.cores} cores and {network:g} Gbit/s each, {storage:g} GB/s of storage shared by all"

    parts = [
        ("Measured", told_costs(small, large)),
        ("Computed: storage, at 320 pixels", told_storage(small)),
        (f"Computed: building PNG records at 320 pixels; {assumed(site)}", told_times(building, small, site)),
        ("Computed: from the start of training to its first batch; the same", told_times(starting, small, site)),
        ("Computed: a pass of training `lite0` at 320 pixels; the same", told_times(training, small, site)),
        (
            f"Computed: a pass of training `lite` at 512 pixels on an H100 each, {H100_IMAGES:,} images/s; "
            + assumed(gpu_site),
            told_times(training, large, gpu_site),
        ),
        (f"Computed: traffic of a pass of `lite0`, updates of {BATCH} images a worker", told_traffic(small)),
    ]
    return "\n\n".join(f"{title}:\n\n{table}" for title, table in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and growth from 10^4 to 10^5 records only")
    parser.add_argument(
        "--costs", type=Path, help="JSON file of costs: what was measured is kept there, and read again"
    )
    parser.add_argument("--network", type=float, default=10, help="Gbit/s of each worker: assumed, 10")
    parser.add_argument("--storage", type=float, default=1, help="GB/s of what all workers share: assumed, 1")
    arguments = parser.parse_args()
    kept = arguments.costs
    if kept is not None and kept.exists():
        small, large = map(read_costs, json.loads(kept.read_text("utf-8")))
    else:
        small, large = measure_costs(arguments.quick)
        if kept is not None:
            kept.write_text(json.dumps([asdict(small), asdict(large)], indent=1) + "\n", "utf-8")
    site = Site(network=arguments.network * 1e9 / 8, storage=arguments.storage * 1e9)
    print(told(small, large, site, replace(site, cores=16)))


if __name__ == "__main__":
    main()
