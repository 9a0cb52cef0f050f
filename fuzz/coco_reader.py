"""Fuzz the reader of COCO instances files with atheris.

    python fuzz/coco_reader.py fuzz/corpus/coco -max_total_time=600

Either the file is refused with a DataError, or what is read is consistent, and can be written and read again. The
corpus holds a whole file, one with every optional key, and files with something wrong.
"""

import json
import logging
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["fcoslite"]):
    import numpy as np

    from fcoslite.data.dataset import AnnotationTable
    from fcoslite.data.formats.coco import encode_annotations
    from fcoslite.data.formats.coco_columns import open_coco
    from fcoslite.errors import DataError

FOLDER = tempfile.TemporaryDirectory()
VALUES = [None, True, -1, 0, 1, 5, 0.5, 2**53 + 1, 2**63, 1e308, -1e308, "", "a.jpg", "../a", "person", [], {}]


def open_bytes(content: bytes) -> AnnotationTable:
    """The reader takes files."""
    path = Path(FOLDER.name) / "instances.json"
    path.write_bytes(content)
    return open_coco(path)


def fuzz(content: bytes) -> None:
    """One input, read, written and read again."""
    with suppress(DataError):
        source = open_bytes(content)
        sides = np.array([(image.width, image.height) for image in source.images], float)
        owners = np.repeat(np.arange(len(sides)), np.diff(source.starts))
        corners = source.boxes_xywh[:, :2] + source.boxes_xywh[:, 2:]
        assert len(owners) == len(source.annotation_ids) == len(set(source.annotation_ids.tolist()))
        assert (source.boxes_xywh[:, :2] >= 0).all() and (source.boxes_xywh[:, 2:] > 0).all()
        assert (corners <= sides[owners] * (1 + 1e-12)).all()
        assert ((source.areas >= 0) & (source.areas <= sides[owners].prod(axis=1))).all()
        try:
            again = open_bytes(encode_annotations(source, range(len(sides))))
        except DataError as error:
            raise AssertionError(f"what was read cannot be read again: {error.message}") from error
        np.testing.assert_array_equal(again.annotation_ids, source.annotation_ids)
        np.testing.assert_array_equal(again.iscrowd, source.iscrowd)
        np.testing.assert_allclose(again.boxes_xywh, source.boxes_xywh, rtol=1e-9)


def mutate(content: bytes, max_size: int, seed: int) -> bytes:
    """Change a value of the JSON tree; every third time, and where it is none, bytes."""
    rng = random.Random(seed)
    if rng.random() < 0.67:
        with suppress(ValueError, RecursionError):
            tree = [json.loads(content)]
            places = list(_places(tree))
            container, key = rng.choice(places)
            action = rng.randrange(4)
            if action == 0:
                container[key] = rng.choice(VALUES)
            elif action == 1:
                other, there = rng.choice(places)
                container[key] = json.loads(json.dumps(other[there]))
            elif action == 2 and len(places) > 1:
                del container[key]
            elif isinstance(container, list):
                container.append(container[key])
            mutated = json.dumps(tree[0] if tree else None).encode()
            if len(mutated) <= max_size:
                return mutated
    return bytes(atheris.Mutate(content, max_size))


def _places(container: Any) -> Iterator[tuple[Any, Any]]:
    keys = range(len(container)) if isinstance(container, list) else container
    for key in keys:
        yield container, key
        if isinstance(container[key], list | dict):
            yield from _places(container[key])


if __name__ == "__main__":
    logging.disable()
    atheris.Setup(sys.argv, fuzz, custom_mutator=mutate)
    atheris.Fuzz()
