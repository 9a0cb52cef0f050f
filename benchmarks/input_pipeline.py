"""The whole tf.data pipeline, from shards to shuffled batches, against nothing but decoding of the same images.

Both have two threads. With augmentation, each batch also goes through the compiled augmentation of a config, which
in training is a part of the step.

Run: python -m benchmarks.input_pipeline [--quick] [--out FOLDER]
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from benchmarks.photographs import photographs
from benchmarks.table import Must, Row, race, run_stage
from fcoslite.config.load import load_settings
from fcoslite.config.settings import AugmentSettings, ComputeSettings, DataSettings, LossSettings
from fcoslite.data.records.build import build_records
from fcoslite.data.records.schema import parse_record
from fcoslite.data.sources.records import RecordSource
from fcoslite.fcos.ground_truth import unpack
from fcoslite.training.augment import Augment

SIZE = 512
BATCH = 4
WORKERS = 2


def bare_decoding(source: RecordSource) -> tf.data.Dataset:
    """Decode the encoded images, which are in memory; of each batch of images comes one byte an image."""
    serialized = tf.data.TFRecordDataset([str(source.folder / shard.name) for shard in source.manifest.shards])
    encoded = [parse_record(record)["image_bytes"].numpy() for record in serialized]
    images = tf.data.Dataset.from_tensor_slices(encoded).repeat()
    decoded = images.map(lambda data: tf.io.decode_image(data, 3, expand_animations=False)[0, 0, 0], WORKERS)
    return decoded.batch(BATCH).prefetch(1)


def take(batches: tf.data.Dataset, count: int, augment: AugmentSettings | None = None) -> Callable[[], None]:
    """Take so many images, which go on from call to call, and augment them if asked to."""
    iterator = iter(batches)
    layer = Augment(augment or AugmentSettings(), SIZE, BATCH, 0)
    augmented = tf.function(lambda batch: layer(*unpack(batch, LossSettings())))

    def run() -> None:
        for _ in range(count // BATCH):
            batch = next(iterator)
            if augment:
                augmented(batch)

    return run


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Images a second, and bytes."""
    count = 160 if arguments.quick else 640
    compute = ComputeSettings(batch_size=BATCH, workers=WORKERS, prefetch=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = photographs(folder / "data")
        sources = {}
        for encoding in ("png", "jpeg"):
            build_records(data, folder / encoding, image_size=SIZE, encoding=encoding)
            sources[encoding] = RecordSource.open(folder / encoding, DataSettings(), compute)
        contestants: dict[str, Callable[[], object]] = {}
        for encoding, source in sources.items():
            contestants[f"{encoding} bare"] = take(bare_decoding(source), count)
            contestants[encoding] = take(source.training_batches(BATCH, 0, 0), count)
        configs = ("mission", "small-data")
        for config in configs:
            batches = sources["png"].training_batches(BATCH, 0, 0)
            contestants[config] = take(batches, count, load_settings(config).augment)
        result = race(contestants, 3 if arguments.quick else 9)
        rows = [(encoding, encoding, "no augmentation") for encoding in sources]
        rows += [(config, "png", f"augmentation of `{config}`") for config in configs]
        for name, encoding, how in rows:
            yield Row(
                stage="input pipeline",
                what=f"{encoding.upper()} at {SIZE}, {how}",
                unit="images/s",
                **result.rates(name, count, limit=f"{encoding} bare"),
                limit_is="bare decoding",
                must=Must("fraction", "≥", 0.8),
            )
        sizes = {
            encoding: sum(shard.size for shard in source.manifest.shards) / source.manifest.count / 1e3
            for encoding, source in sources.items()
        }
        yield Row(
            stage="input pipeline",
            what="a JPEG record, quality 95",
            unit="kB",
            ours=sizes["jpeg"],
            reference=sizes["png"],
            reference_is="PNG",
            ratio=sizes["jpeg"] / sizes["png"],
        )


if __name__ == "__main__":
    run_stage(measure, __doc__)
