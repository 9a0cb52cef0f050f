"""How time and memory grow with image size, batch, boxes, classes and data; draws one chart of each.

Every point is a process of its own, so that its peak memory is its own. Takes some twenty minutes on two CPU cores.

Run: python -m benchmarks.growth [NAME ...] [--out FOLDER]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.table import peak_mib, race

if TYPE_CHECKING:
    from fcoslite.data.sources.records import RecordSource

ROUNDS = 3


def _median_ms(call: Callable[[], object]) -> float:
    return 1e3 * race({"call": call}, ROUNDS).median("call")


def predict(preset: str, size: int, classes: int = 1) -> float:
    """Milliseconds for one image: forward pass and post-processing, compiled as `webcam` does."""
    from fcoslite.config.settings import ModelSettings, WebcamSettings
    from fcoslite.inference.predictor import Predictor
    from fcoslite.inference.runtimes.keras import KerasRuntime
    from fcoslite.models.detector import build_detector

    names = tuple(f"class {number}" for number in range(classes))
    detector = build_detector(ModelSettings(preset=preset, image_size=size, classes=names), seed=0)
    predictor = Predictor(KerasRuntime(detector), WebcamSettings())
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    return _median_ms(lambda: predictor.predict(image))


def train(preset: str, size: int, batch: int = 4, boxes: int = 20, classes: int = 1) -> float:
    """Milliseconds per image of a training step by `small-data` (`mission` for `lite`), without mosaics."""
    from benchmarks.random_batches import random_batch
    from fcoslite.config.load import load_settings
    from fcoslite.models.detector import build_detector
    from fcoslite.training.model import build_training_model

    names = [f"class {number}" for number in range(classes)]
    values = {"model.classes": names, "model.image_size": size, "model.backbone_weights": None}
    sets = [f"compute.batch_size={batch}", "compute.accumulation=1", "augment.mosaic=0", "compute.precision=float32"]
    settings = load_settings("mission" if preset == "lite" else "small-data", sets, values)
    model = build_training_model(build_detector(settings.model, seed=0), settings, settings.train, steps=100_000)
    inputs = random_batch(batch, boxes, size)
    return _median_ms(lambda: model.train_on_batch(inputs)) / batch


def open_records(count: int) -> float:
    """Milliseconds from opening a folder of so many records of 32 pixels to its first shuffled batch."""
    with tempfile.TemporaryDirectory() as name:
        folder = records_folder(Path(name), count)

        def first_batch() -> None:
            next(iter(_open(folder).training_batches(16, 0, 0)))

        return _median_ms(first_batch)


def select(images: int) -> float:
    """Milliseconds to read a COCO file of so many images and to choose its persons, without image files."""
    from benchmarks.extract import generate, select_persons

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "instances.json"
        generate(path, images, 860_001 * images // 118_287)
        start = time.perf_counter()
        select_persons(path)
        return 1e3 * (time.perf_counter() - start)


def _cpu_ms(call: Callable[[], object]) -> float:
    """Milliseconds of all cores together, of one call: what else the machine does is not counted."""
    start = time.process_time()
    call()
    return 1e3 * (time.process_time() - start)


def read_manifest(count: int) -> float:
    """CPU milliseconds to open a set of so many records: its manifest is read, and the size of every file asked for."""
    with tempfile.TemporaryDirectory() as name:
        folder = records_folder(Path(name), count)
        return _cpu_ms(lambda: _open(folder))


def check_sums(count: int) -> float:
    """CPU milliseconds to compare the files of a set, of 88 kB each, with their checksums."""
    with tempfile.TemporaryDirectory() as name:
        source = _open(records_folder(Path(name), count))
        return _cpu_ms(source.checked)


def first_batch(count: int) -> float:
    """CPU milliseconds from a set that is open to its first shuffled batch."""
    with tempfile.TemporaryDirectory() as name:
        source = _open(records_folder(Path(name), count))
        next(iter(source.part(range(1000)).training_batches(16, 0, 0)))  # TensorFlow is loaded
        return _cpu_ms(lambda: next(iter(source.training_batches(16, 0, 0))))


def walk(count: int) -> float:
    """CPU milliseconds in which one of 4,096 processes finds its records of one pass: all are passed, few are read."""
    from fcoslite.data.sources.source import BatchShare

    batch = 4096
    with tempfile.TemporaryDirectory() as name:
        source = _open(records_folder(Path(name), count))
        batches = iter(source.training_batches(batch, 0, 0, BatchShare(0, batch)))

        def one_pass() -> None:
            for _ in range(count // batch):
                next(batches)

        next(batches)
        return _cpu_ms(one_pass)


def order(count: int) -> float:
    """CPU milliseconds to put so many image ids in their seeded order."""
    from fcoslite.data.dataset import seeded_order

    return _cpu_ms(lambda: seeded_order(range(1, count + 1), 0, "records"))


def plan(count: int) -> tuple[float, float]:
    """CPU milliseconds to read the annotations of so many images as `extract` leaves them, and to plan their records.

    There are 4.1 persons an image, as in train2017; the images themselves are not there. Also the MiB of the file: it
    is mapped, and its pages count as memory of the process, but are the system's to take back.
    """
    from fcoslite.data.records.plan import plan_records

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        _extracted(folder / "annotations.json", count)
        milliseconds = _cpu_ms(lambda: plan_records(folder))
        return milliseconds, (folder / "annotations.json").stat().st_size / 2**20


def _extracted(path: Path, images: int) -> None:
    """Write what `extract` leaves of so many images, without polygons."""
    from benchmarks.extract import IMAGE

    rng = np.random.default_rng(0)
    box = '{"id":%d,"image_id":%d,"category_id":1,"bbox":[%.2f,%.2f,%.2f,%.2f],"area":%.2f,"iscrowd":0}'
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(
            '{"info":{},"licenses":[],"categories":[{"supercategory":"person","id":1,"name":"person"}],"images":['
        )
        file.writelines(("," if number > 1 else "") + IMAGE % (1, *[number] * 4) for number in range(1, images + 1))
        file.write('],"annotations":[')
        boxes = images * 41 // 10
        for start in range(0, boxes, 100_000):
            numbers = range(start, min(start + 100_000, boxes))
            for number, (x, y, width, height) in zip(numbers, rng.uniform(5, 235, (len(numbers), 4)), strict=True):
                values = (number + 1, 1 + number % images, x, y, width, height, width * height / 2)
                file.write(("," if number else "") + box % values)
        file.write("]}")


def merge(count: int) -> float:
    """CPU milliseconds to make a set of the files of shares, each of which has a journal."""
    import msgspec

    from fcoslite.data.records.manifest import load_manifest
    from fcoslite.data.records.merge import merge_records
    from fcoslite.data.records.plan import SetFacts, write_facts
    from fcoslite.data.records.shards import Cut, WrittenShard
    from fcoslite.storage.files import write_json
    from fcoslite.storage.staged_folder import MANIFEST

    with tempfile.TemporaryDirectory() as name:
        folder = records_folder(Path(name) / ".records.partial", count)
        shards = load_manifest(folder).shards
        (folder / MANIFEST).unlink()
        for shard in shards:
            (folder / f".{shard.name}.json").write_bytes(msgspec.json.encode(WrittenShard(shard, 0, 1, ())))
        write_facts(SetFacts(("person",), 32, "png", 0, 1, "", Cut(count, _EACH, "person"), "job"), folder)
        write_json(folder / ".job.json", {"job": "job"})
        return _cpu_ms(lambda: merge_records(Path(name) / "records"))


_EACH = 256  # records a file


def records_folder(folder: Path, count: int) -> Path:
    """A set of so many records of 32 pixels; all its files but the last are links to one."""
    import hashlib
    from dataclasses import asdict

    from fcoslite.data.records.build import KIND
    from fcoslite.data.records.manifest import RecordsManifest, Shard
    from fcoslite.data.records.schema import blank_record
    from fcoslite.data.records.shards import Cut
    from fcoslite.machine.backend import load_tensorflow
    from fcoslite.storage.files import write_json
    from fcoslite.storage.staged_folder import MANIFEST

    load_tensorflow()
    import tensorflow as tf

    folder.mkdir(exist_ok=True)
    cut, record = Cut(count, _EACH, "person"), blank_record(32)
    written: dict[int, tuple[Path, str]] = {}  # by their records
    shards = []
    for index in range(len(cut)):
        path, held = folder / cut.name(index), len(cut.places(index))
        if held in written:
            path.hardlink_to(written[held][0])
        else:
            with tf.io.TFRecordWriter(str(path)) as writer:
                for _ in range(held):
                    writer.write(record)
            written[held] = path, hashlib.sha256(path.read_bytes()).hexdigest()
        shards.append(Shard(path.name, held, written[held][1], path.stat().st_size))
    manifest = RecordsManifest(
        class_names=("person",),
        image_size=32,
        encoding="png",
        seed=0,
        count=count,
        boxes=0,
        max_boxes=1,
        shards=tuple(shards),
        version="",
    )
    write_json(folder / MANIFEST, {"kind": KIND, **asdict(manifest)})
    return folder


def _open(folder: Path) -> "RecordSource":
    from fcoslite.config.settings import ComputeSettings, DataSettings
    from fcoslite.data.sources.records import RecordSource

    return RecordSource.open(folder, DataSettings(), ComputeSettings())


# chart: (title of the x axis, series by name: (values of x, what to measure))
# milliseconds, or these and MiB of files that are mapped
Series = dict[str, tuple[tuple[int, ...], Callable[[int], float | tuple[float, float]]]]
CHARTS: dict[str, tuple[str, str, Series]] = {
    "image-size": (
        "side of the image, pixels",
        "ms an image",
        {
            "predict, lite0": ((256, 512, 1024), lambda size: predict("lite0", size)),
            "predict, lite": ((256, 512, 1024), lambda size: predict("lite", size)),
            "train, lite0, batch of 4": ((256, 512, 768), lambda size: train("lite0", size)),
            "train, lite, batch of 4": ((256, 512, 768), lambda size: train("lite", size)),
        },
    ),
    "batch": (
        "images a batch, at 320 pixels",
        "ms an image",
        {
            "train, lite0": ((1, 4, 16), lambda batch: train("lite0", 320, batch)),
        },
    ),
    "boxes": (
        "boxes an image, at 320 pixels",
        "ms an image",
        {
            "train, lite0": ((1, 50, 200), lambda boxes: train("lite0", 320, boxes=boxes)),
        },
    ),
    "classes": (
        "classes, at 320 pixels",
        "ms an image",
        {
            "predict, lite0": ((1, 20, 80), lambda classes: predict("lite0", 320, classes)),
            "train, lite0": ((1, 20, 80), lambda classes: train("lite0", 320, classes=classes)),
        },
    ),
    "records": (
        "records, or images of a COCO file",
        "ms",
        {
            "open records, first batch": ((1_000, 10_000, 40_000), open_records),
            "read COCO file, choose persons": ((1_000, 10_000, 40_000), select),
        },
    ),
    "many-records": (
        "records, or images of a COCO folder",
        "ms of CPU time",
        {
            "open a set": ((100_000, 1_000_000, 10_000_000), read_manifest),
            "compare checksums": ((100_000, 1_000_000, 10_000_000), check_sums),
            "first shuffled batch": ((100_000, 1_000_000, 10_000_000), first_batch),
            "pass over a share": ((100_000, 1_000_000), walk),
            "seeded order": ((100_000, 1_000_000, 10_000_000), order),
            "plan records": ((100_000, 1_000_000, 10_000_000), plan),
            "merge shares": ((100_000, 1_000_000, 10_000_000), merge),
        },
    ),
}


def measure(chart: str, name: str, value: int) -> dict[str, float]:
    """A point, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth", "--point", chart, name, str(value)]
    output = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ).stdout
    return json.loads(output.splitlines()[-1])


def draw(chart: str, points: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Time at the left, peak memory of the process at the right; both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator

    x_title, y_title, _ = CHARTS[chart]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    measured = sorted({point["x"] for line in points.values() for point in line})
    for axis, key, title in zip(axes, ("ms", "mib"), (y_title, "peak memory of the process, MiB"), strict=True):
        for name, line in points.items():
            axis.plot([point["x"] for point in line], [point[key] for point in line], marker="o", label=name)
        axis.set(xscale="log", yscale="log", xlabel=x_title, ylabel=title)
        axis.set_xticks(measured, [f"{x:,}" for x in measured])
        axis.minorticks_off()
        values = [point[key] for line in points.values() for point in line]
        axis.set_ylim(min(values) / 2, max(values) * 2)  # so that noise about a constant looks like one
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:,.0f}")
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("charts", nargs="*", metavar="NAME", help=f"of {', '.join(CHARTS)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("growth"), help="folder for growth.json and the charts")
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        chart, name, value = arguments.point
        cost = CHARTS[chart][2][name][1](int(value))
        milliseconds, mapped = cost if isinstance(cost, tuple) else (cost, 0)
        print(json.dumps({"x": int(value), "ms": milliseconds, "mib": peak_mib() - mapped}))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    saved = arguments.out / "growth.json"
    found = json.loads(saved.read_text()) if saved.exists() else {}
    for chart in arguments.charts or CHARTS:
        points: dict[str, list[dict[str, float]]] = {}
        for name, (values, _) in CHARTS[chart][2].items():
            for value in values:
                point = measure(chart, name, value)
                points.setdefault(name, []).append(point)
                print(f"{chart}: {name}, {value:,}: {point['ms']:,.1f} ms, {point['mib']:,.0f} MiB", flush=True)
        found[chart] = points
        saved.write_text(json.dumps(found, indent=1) + "\n")
        draw(chart, points, arguments.out / f"growth-{chart}.png")


if __name__ == "__main__":
    main()
