"""`build-records` with one and two workers, against bare read, decode, resize and encode of the same images.

Run: python -m benchmarks.build_records [--quick] [--out FOLDER]

That its memory stays flat is measured by python -m benchmarks.memory.
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2

from benchmarks.photographs import photographs
from benchmarks.table import Must, Row, race, run_stage
from fcoslite.data.records.build import build_records
from fcoslite.data.records.schema import PNG_COMPRESSION
from fcoslite.geometry.letterbox import PAD_COLOUR
from fcoslite.machine.backend import load_tensorflow
from fcoslite.machine.threads import one_opencv_thread

SIZE = 512


def bare(data: Path, out: Path) -> None:
    """The least there is to do, in one thread: no boxes, no checks, no records; the bytes go to one file."""
    names = [image["file_name"] for image in json.loads((data / "annotations.json").read_text())["images"]]
    with out.open("wb") as file:
        for name in names:
            image = cv2.imread(str(data / "images" / name))
            assert image is not None
            scale = SIZE / max(image.shape[:2])
            sides = round(image.shape[1] * scale), round(image.shape[0] * scale)
            resized = cv2.resize(image, sides, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            square = cv2.copyMakeBorder(
                resized, 0, SIZE - sides[1], 0, SIZE - sides[0], cv2.BORDER_CONSTANT, value=(PAD_COLOUR,) * 3
            )
            file.write(cv2.imencode(".png", square, (cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION))[1].tobytes())
        os.fsync(file.fileno())


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Images a second."""
    load_tensorflow()
    copies = 16
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = photographs(folder / "data", copies)
        count = len(list((data / "images").iterdir()))

        def ours(workers: int) -> None:
            shutil.rmtree(folder / "records", ignore_errors=True)
            build_records(data, folder / "records", image_size=SIZE, workers=workers)

        contestants = {"1": lambda: ours(1), "2": lambda: ours(2), "bare": lambda: bare(data, folder / "bare")}
        with one_opencv_thread():
            result = race(contestants, 3 if arguments.quick else 7)
    yield Row(
        stage="build-records",
        what=f"PNG at {SIZE}, one worker",
        unit="images/s",
        **result.rates("1", count, limit="bare"),
        limit_is="bare read, decode, resize, encode in one thread",
        must=Must("fraction", "≥", 0.9),
    )
    yield Row(
        stage="build-records",
        what="two workers",
        unit="images/s",
        **result.rates("2", count, reference="1"),
        reference_is="one worker",
        must=Must("ratio", "≥", 1.8),
    )


if __name__ == "__main__":
    run_stage(measure, __doc__)
