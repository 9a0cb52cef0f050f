"""One picture on every engine, and the whole command from cold.

`lite0` on the embedded photographs, decoded beforehand: from pixels to `Detections`, at 384 pixels and, unless quick,
at 320 and 512. The reference is what `--engine keras` does: TensorFlow with the weights made constants. Then
`fcoslite detect photograph.jpg`, each time in a process of its own.

Run: python -m benchmarks.engines [--quick] [--out FOLDER]
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.photographs import DEMO_DATA
from benchmarks.table import Must, Row, race, run_stage
from benchmarks.weights import packaged_detector, packaged_export
from fcoslite.config.settings import DetectSettings, WebcamSettings
from fcoslite.data.images import read_image
from fcoslite.evaluation.export_detector import Format, Precision
from fcoslite.fcos.postprocess import postprocess
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes.keras import KerasRuntime
from fcoslite.inference.runtimes.open import Engine, open_runtime
from fcoslite.inference.runtimes.runtime import Runtime

SIZE = 384
SIZES = (SIZE, 320, 512)
KERAS = "--engine keras"
ENGINES: dict[Engine, str] = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}
PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
PEAK = """
import sys
from benchmarks.table import peak_mib
from fcoslite.cli.app import run
run(sys.argv[1:])
print(peak_mib())
"""


def one_picture(quick: bool) -> Iterator[Row]:
    """Milliseconds; two threads at one picture, as `detect` does with one."""
    for size in SIZES[:1] if quick else SIZES:
        yield from _one_picture(size, quick)


def _one_picture(size: int, quick: bool) -> Iterator[Row]:
    images = [read_image(path) for path in sorted((DEMO_DATA / "images").glob("*.jpg"))[: 4 if quick else 16]]
    runtimes: dict[str, Runtime] = {KERAS: KerasRuntime(packaged_detector("lite0", size))}
    with tempfile.TemporaryDirectory() as name:
        for precision in PRECISIONS:
            formats: tuple[Format, ...] = ("onnx", "litert")
            files = {each: packaged_export("lite0", size, Path(name), precision, each) for each in formats}
            for engine, what in ENGINES.items():
                file = files["litert" if engine == "litert" else "onnx"]
                runtimes[f"{what}, {precision}"] = open_runtime(file, engine)

    def detect(runtime: Runtime) -> Callable[[], object]:
        predictor = Predictor(runtime, WebcamSettings(), size)
        return lambda: [predictor.predict(image) for image in images]

    result = race({engine: detect(runtime) for engine, runtime in runtimes.items()}, 5 if quick else 15)
    best = min(runtimes, key=result.median)
    musts = {"ONNX Runtime, float32": 0.95, "ONNX Runtime, int8": 0.55, best: 0.5}
    for what in runtimes:
        if what != KERAS:
            yield Row(
                stage="engines",
                what=f"`lite0` at {size}, one picture, {what}",
                unit="ms",
                **result.milliseconds(what, len(images), reference=KERAS),
                reference_is=KERAS,
                must=Must("ratio", "≤", musts[what]) if what in musts and size == SIZE else None,
            )


def post_processing(quick: bool) -> Iterator[Row]:
    """Milliseconds for 100 boxes and their duplicates."""
    rng = np.random.default_rng(0)
    centres = np.stack(np.meshgrid(np.arange(10), np.arange(10)), axis=-1).reshape(-1, 1, 2) * 38.0 + 20
    corners = np.concatenate([centres - 15, centres + 15], axis=-1)  # (100, 1, 4): they do not touch
    boxes = (corners + rng.normal(0, 1, (100, 10, 4))).reshape(-1, 4)
    scores = rng.uniform(0.3, 0.9, (1000, 1))
    nothing = np.zeros((2060, 4)), np.zeros((2060, 1))
    all_boxes = np.concatenate([boxes, nothing[0]]).astype(np.float32)
    all_scores = np.concatenate([scores, nothing[1]]).astype(np.float32)
    settings = DetectSettings(score=0.2, iou=0.5)
    assert len(postprocess(all_boxes, all_scores, settings).scores) == 100
    result = race({"ours": lambda: postprocess(all_boxes, all_scores, settings)}, 5 if quick else 15)
    yield Row(
        stage="engines",
        what="post-processing, 100 boxes of 1,000 candidates and 3,060 locations",
        unit="ms",
        ours=1e3 * result.median("ours"),
        must=Must("ours", "≤", 1.5),
    )


def cold(quick: bool) -> Iterator[Row]:
    """Seconds and memory of a process."""
    photograph = sorted((DEMO_DATA / "images").glob("*.jpg"))[1]
    command = ["detect", str(photograph), "--weights", "lite0", "--engine"]

    def whole(engine: str) -> Callable[[], object]:
        return lambda: subprocess.run(
            [sys.executable, "-m", "fcoslite", *command, engine], check=True, capture_output=True
        )

    result = race({engine: whole(engine) for engine in ("auto", "keras")}, 3 if quick else 7)
    figures = {"ours": result.median("auto"), "reference": result.median("keras")}
    for must in (Must("ratio", "≤", 0.2), Must("ours", "≤", 1.5)):
        yield Row(
            stage="engines",
            what="`fcoslite detect photograph.jpg`, cold",
            unit="s",
            ours=figures["ours"],
            reference=figures["reference"],
            reference_is=KERAS,
            ratio=result.faster("keras", "auto"),
            must=must,
        )

    def peak(engine: str) -> float:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *command, engine], check=True, capture_output=True, text=True
        )
        return float(done.stdout.split()[-1])

    ours, keras = peak("auto"), peak("keras")
    yield Row(
        stage="engines",
        what="the same, peak memory",
        unit="MiB",
        ours=ours,
        reference=keras,
        reference_is=KERAS,
        ratio=ours / keras,
        must=Must("ours", "≤", 350),
    )


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """All of them."""
    for part in (cold, post_processing, one_picture):  # threads of the engines go on spinning for a while
        yield from part(arguments.quick)


if __name__ == "__main__":
    run_stage(measure, __doc__)
