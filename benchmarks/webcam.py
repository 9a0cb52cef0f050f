"""`webcam` end to end, capture to saved video, by ONNX Runtime: against Keras, and against nothing but the engine.

The bare engine gets letterboxed frames, as many at a time as `webcam` gives it; and once more with OpenCV's reader
before it and OpenCV's writer behind it, which need the same cores. The video is made of the embedded photographs,
panned; --video takes a real one.

Run: python -m benchmarks.webcam [--quick] [--video FILE] [--out FOLDER]
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.photographs import DEMO_DATA
from benchmarks.table import Must, Row, race, run_stage
from benchmarks.weights import packaged_detector, packaged_export
from fcoslite.config.settings import WebcamSettings
from fcoslite.data.images import read_image
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.input.open import open_source
from fcoslite.inference.live import run_live
from fcoslite.inference.output.plan import Output
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes.keras import KerasRuntime
from fcoslite.inference.runtimes.open import open_runtime
from fcoslite.inference.runtimes.runtime import Runtime
from fcoslite.machine.threads import map_in_order

WIDTH, HEIGHT, FPS = 768, 576, 25  # a camera's


def make_video(path: Path, frames: int) -> None:
    """A window that glides over one photograph after the other, two seconds each."""
    photographs = sorted((DEMO_DATA / "images").glob("*.jpg"))
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for number in range(frames):
        index, step = divmod(number, 2 * FPS)
        image = read_image(photographs[index % len(photographs)])
        scale = 1.2 * max(WIDTH / image.shape[1], HEIGHT / image.shape[0])
        image = cv2.resize(image, None, fx=scale, fy=scale)
        x = (image.shape[1] - WIDTH) * step // (2 * FPS)
        y = (image.shape[0] - HEIGHT) * step // (2 * FPS)
        video.write(cv2.cvtColor(image[y : y + HEIGHT, x : x + WIDTH], cv2.COLOR_RGB2BGR))
    video.release()


def grey_frame(video: Path, size: int, step: int) -> np.ndarray:
    """Of the shape that frames of the video are letterboxed to."""
    with open_source(str(video)) as source:
        letterbox = Letterbox.fitting(source.height, source.width, size, step)
    return np.full((1, letterbox.rows, letterbox.columns, 3), 114, np.uint8)


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Frames a second."""
    frames = 200 if arguments.quick else 500
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = arguments.video or folder / "video.avi"
        if arguments.video is None:
            make_video(video, frames)
        contestants: dict[str, Callable[[], object]] = {}
        for size in (320, 512):
            on_onnx: Runtime = open_runtime(packaged_export("lite0", size, folder), many=True)
            on_keras: Runtime = KerasRuntime(packaged_detector("lite0", size))

            def end_to_end(runtime: Runtime, size: int = size) -> None:
                predictor = Predictor(runtime, WebcamSettings(), size)
                with open_source(str(video)) as source:
                    result = run_live(source, predictor, Output(save=folder / "saved.mp4"), max_frames=frames)
                if result.frames < frames:
                    raise SystemExit(f"{video} has {result.frames} frames, at least {frames} are needed")

            def bare(runtime: Runtime, size: int = size) -> None:
                letterboxed = grey_frame(video, size, runtime.step)
                for _ in map_in_order(runtime, [letterboxed] * frames, runtime.at_once, ahead=1):
                    pass

            def between(runtime: Runtime, size: int = size) -> None:
                reader = cv2.VideoCapture(str(video))
                writer = cv2.VideoWriter(
                    str(folder / "bare.mp4"),
                    cv2.VideoWriter.fourcc(*"mp4v"),
                    FPS,
                    (int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))),
                )
                letterboxed = grey_frame(video, size, runtime.step)

                def run(frame: np.ndarray) -> np.ndarray:
                    runtime(letterboxed)
                    return frame

                read = (reader.read()[1] for _ in range(frames))
                for frame in map_in_order(run, read, runtime.at_once, ahead=1):
                    writer.write(frame)
                writer.release()
                reader.release()

            contestants |= {
                f"{size}": partial(end_to_end, on_onnx),
                f"{size} keras": partial(end_to_end, on_keras),
                f"{size} bare": partial(bare, on_onnx),
                f"{size} between": partial(between, on_onnx),
            }
        result = race(contestants, 3 if arguments.quick else 7)
        for size in (320, 512):
            figures = result.rates(f"{size}", frames, reference=f"{size} keras", limit=f"{size} bare")
            for must in (Must("ratio", "≥", 1.3), Must("fraction", "≥", 0.9)):
                yield Row(
                    stage="webcam",
                    what=f"`lite0` at {size}, saved as .mp4",
                    unit="frames/s",
                    **figures,
                    reference_is="--engine keras",
                    limit_is="bare engine",
                    must=must if size == 320 else None,
                )
                if size != 320:
                    break
            yield Row(
                stage="webcam",
                what=f"the same at {size}",
                unit="frames/s",
                **result.rates(f"{size}", frames, limit=f"{size} between"),
                limit_is="bare engine between OpenCV's reader and writer",
            )


if __name__ == "__main__":
    run_stage(measure, __doc__)
