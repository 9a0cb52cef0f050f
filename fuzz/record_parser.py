"""Fuzz the record check and the manifest of records with atheris.

    python fuzz/record_parser.py fuzz/corpus/records -max_total_time=600

Either the input is refused with a DataError, or it is a record that the input pipeline can read. The corpus holds
records of synthetic images (as PNG and JPEG, with and without boxes) and a manifest.
"""

import sys
from contextlib import suppress
from dataclasses import replace

import atheris
import tensorflow as tf

with atheris.instrument_imports(include=["fcoslite"]):
    from fcoslite.data.records.manifest import RecordsManifest, Shard, decode_manifest
    from fcoslite.data.records.schema import check_record, parse_record
    from fcoslite.errors import DataError

SIZE = 32
PNG = RecordsManifest(
    class_names=("person", "chair"),
    image_size=SIZE,
    encoding="png",
    seed=0,
    count=1,
    boxes=1,
    max_boxes=16,
    shards=(Shard("person-00000-of-00001.tfrecord", 1, "0" * 64, 1),),
    version="0",
)


def read_record(content: bytes, manifest: RecordsManifest) -> None:
    """A record that passes the check must be one that training can read."""
    check_record(content, manifest)
    parsed = parse_record(content)
    image = tf.io.decode_image(parsed["image_bytes"], channels=3, expand_animations=False)
    assert image.shape == (SIZE, SIZE, 3)
    assert len(parsed["boxes"]) == len(parsed["crowd"]) == len(parsed["areas"]) <= manifest.max_boxes
    parsed["file_name"].numpy().decode()


def fuzz(content: bytes) -> None:
    """One input, read as a record of either encoding and as a manifest."""
    for encoding in ("png", "jpeg"):
        with suppress(DataError):
            read_record(content, replace(PNG, encoding=encoding))
    with suppress(DataError):
        manifest = decode_manifest(content, "manifest.json")
        assert manifest.count == sum(shard.count for shard in manifest.shards)


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz)
    atheris.Fuzz()
