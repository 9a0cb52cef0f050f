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

import numpy as np

from benchmarks.table import peak_mib, race

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
    import hashlib
    from dataclasses import asdict

    from fcoslite.config.settings import ComputeSettings, DataSettings
    from fcoslite.data.records.build import KIND
    from fcoslite.data.records.manifest import RecordsManifest, Shard
    from fcoslite.data.records.schema import blank_record
    from fcoslite.data.sources.records import RecordSource
    from fcoslite.machine.backend import load_tensorflow
    from fcoslite.storage.files import write_json
    from fcoslite.storage.staged_folder import MANIFEST

    load_tensorflow()
    import tensorflow as tf

    record, each = blank_record(32), 256
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = []
        for start in range(0, count, each):
            path = folder / f"person-{start // each:05d}-of-{-(-count // each):05d}.tfrecord"
            with tf.io.TFRecordWriter(str(path)) as writer:
                held = min(each, count - start)
                for _ in range(held):
                    writer.write(record)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            shards.append(Shard(path.name, held, digest, path.stat().st_size))
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
            skipped_images=0,
            job="",
        )
        write_json(folder / MANIFEST, {"kind": KIND, **asdict(manifest)})

        def first_batch() -> None:
            source = RecordSource.open(folder, DataSettings(), ComputeSettings())
            next(iter(source.training_batches(16, 0, 0)))

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


# chart: (title of the x axis, series by name: (values of x, what to measure))
Series = dict[str, tuple[tuple[int, ...], Callable[[int], float]]]
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
        milliseconds = CHARTS[chart][2][name][1](int(value))
        print(json.dumps({"x": int(value), "ms": milliseconds, "mib": peak_mib()}))
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
